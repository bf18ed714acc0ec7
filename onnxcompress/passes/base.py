"""What a pass is: a frozen dataclass whose fields are its options, and the context it runs in.

Nothing heavy is imported here: listing passes and printing help must not load onnx_ir or numpy.
"""

from __future__ import annotations

import dataclasses
import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from onnxcompress.errors import UsageError
from onnxcompress.runtime_options import RuntimeOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.calibrators import Statistics
    from onnxcompress.data import DataSource
    from onnxcompress.report import Finding
    from onnxcompress.targets import Target
    from onnxcompress.verify import Goal

T = TypeVar("T")


class Effect(enum.StrEnum):
    """What a pass may do to the numbers that a model computes."""

    ANALYSIS = "analysis"  # reads only
    EXACT = "exact"  # same numbers up to rounding; checked against the model before it
    LOSSY = "lossy"  # other numbers; measured against the original model


def option(default: Any, help: str, *, choices: tuple[str, ...] = (), flag: str = "") -> Any:  # noqa: A002
    """A dataclass field that is also a command-line option and a recipe key.

    Args:
        default: Value used when the user says nothing. Must be immutable: None, bool, int, float, str, or a tuple
            of strings.
        help: One sentence for ``--help`` and the docs.
        choices: Allowed values, where there are few.
        flag: Command-line name where it differs from the field's name in kebab case.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "flag": flag})


class Progress(Protocol):
    """Told how far a long step is; the default does nothing."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` units of `step` are finished."""


def silent(step: str, done: int, total: int) -> None:
    """The progress sink that ignores everything."""


@dataclass(frozen=True)
class Scope:
    """Which nodes a pass may touch: names, ``re:PATTERN`` or ``op:TYPE``."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Analyses:
    """Results computed from a graph, kept until a pass changes that graph."""

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}

    def get(self, key: str, compute: Callable[[], T]) -> T:
        """The cached result under `key`, computed by `compute` when absent."""
        if key not in self._results:
            self._results[key] = compute()
        return self._results[key]

    def drop(self) -> None:
        """Forget everything: the graph has changed."""
        self._results.clear()


@dataclass(frozen=True)
class Context:
    """Everything a pass may use besides the model; nothing is global.

    Attributes:
        original: The model as it entered the pipeline. LOSSY passes are measured against it; it is never edited.
        teacher: The model to imitate; the original where the user gave none.
        target: Deployment target (data types, placement, alignment).
        also: Other targets that get a file from the same run; what they need is counted in the same pass over the data.
        statistics: Histograms that passes and runs share; None where there is nothing to share.
        data: Samples for calibration, reconstruction and training; None where the user gave none.
        held_out: Samples that only measure; never used to calibrate.
        goal: The quality gate and the samples to steer by; None without a gate, or where a later pass changes the
            numbers again.
        shapes: Sizes for dynamic inputs by input name (``--shape x:1x3x224x224``), or the samples'; -1 is left free.
        scope: Nodes the user named with ``--only`` and ``--exclude``.
        runtime: Providers, threads, custom operators.
        seed: Seed of every random draw.
        executor: Runs independent shards; None means in this thread.
        memory_bytes: Ceiling for one layer's statistics and factors.
        verify: ``quick`` or ``full``.
        strict: Refuse NaN and infinity inside the model, by the tensor's name, where they would only be told.
        progress: Told how far long steps are.
        analyses: Cache of results about the current graph.
    """

    original: ir.Model
    teacher: ir.Model
    target: Target
    also: tuple[Target, ...] = ()
    statistics: Statistics | None = None
    data: DataSource | None = None
    held_out: DataSource | None = None
    goal: Goal | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    scope: Scope = Scope()
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    seed: int = 0
    executor: Executor | None = None
    memory_bytes: int = 1 << 30
    verify: str = "quick"
    strict: bool = False
    progress: Progress = silent
    analyses: Analyses = field(default_factory=Analyses)


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One step of a recipe. A subclass's fields are its options; its docstring's first line is its help.

    Class attributes:
        name: Registered name, kebab case, a verb and its object.
        effect: What the pass may do to the numbers.
        needs_data: ``never``, ``optional`` or ``always``.
        not_after: Names of passes that must not have run before this one in the same recipe.
        by_profile: What the pass writes depends on the processor's profile where the target is chosen by processor
            (``ort-cpu``); the recipe then names that profile, so that it makes the same bytes anywhere.
        at_sample_sizes: What the pass decides depends on sizes; those that the model leaves free are the samples' where
            every lossy pass of the recipe says so and the user gives none.
        steers: The pass can give compression back until ``Context.goal`` is met.
    """

    name: ClassVar[str]
    effect: ClassVar[Effect] = Effect.EXACT
    needs_data: ClassVar[str] = "never"
    not_after: ClassVar[tuple[str, ...]] = ()
    by_profile: ClassVar[bool] = False
    at_sample_sizes: ClassVar[bool] = False
    steers: ClassVar[bool] = False

    def check(self) -> None:  # noqa: B027  # most passes have nothing to refuse
        """Refuse options that are out of range or contradict each other, before any work.

        Raises:
            UsageError: Naming the option.
        """

    @abstractmethod
    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        """Edit `model` in place and yield what was done and what was left alone, with reason codes.

        Raises:
            CompressError: Where the pass cannot do its work at all; the pass manager rolls the edits back.
        """

    def portable(self) -> Self:
        """This pass without what belongs to one run on one machine, such as folders; what a model is stamped with."""
        return self

    def spec(self) -> dict[str, Any]:
        """The recipe entry: the pass's name and those options that differ from their default."""
        changed = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default
        }
        return {"pass": self.name, **{k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()}}


def check_ranges(doing: str, given: Pass, ranges: Iterable[tuple[str, bool, str]]) -> None:
    """Refuse options out of their range.

    Args:
        doing: What the pass does, for the error.
        given: The pass.
        ranges: Name of an option, whether it is in its range, and the range in words.

    Raises:
        UsageError: Naming the first that is not.
    """
    for name, fine, wanted in ranges:
        if not fine:
            why, hint = f"{getattr(given, name)!r} is not {wanted}", "Leave it out for the default."
            raise UsageError(f"cannot {doing}", where=f"option {name}", why=why, hint=hint, code="USAGE-OPTION")
