"""Groups of flags, each a frozen dataclass that is declared once and shared by every command that needs it.

A field is a flag; the class is also what the command receives, so a flag's type, default and help stand in one
place. `onnxcompress.cli.build` turns the fields into typer's parameters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from onnxcompress.errors import UsageError
from onnxcompress.runtime_options import RuntimeOptions

if TYPE_CHECKING:
    from onnxcompress.api import DataOptions

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file to read.", show_default=False)]


def flag(default: Any, help: str, *names: str, metavar: str = "", complete: str = "") -> Any:  # noqa: A002
    """A dataclass field that is a command-line flag.

    Args:
        default: Value where the flag is absent; its absence is None, False, 0 or an empty tuple.
        help: One sentence for ``--help``.
        names: Names on the command line; the field's name in kebab case by default.
        metavar: Word that stands for the value in ``--help``.
        complete: What the shell completes: ``targets``, or words joined by ``|``.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "names": names, "metavar": metavar, "complete": complete}
    )


@dataclass(frozen=True)
class Group:
    """Base of all groups; `panel` is their heading in ``--help``."""

    panel: ClassVar[str] = "Options"


@dataclass(frozen=True)
class OutputFlags(Group):
    """Where the result goes."""

    panel: ClassVar[str] = "Output"
    output: Path | None = flag(
        None,
        "File to write, or folder where --target is given twice; beside MODEL by default.",
        "--output",
        "-o",
        metavar="FILE",
    )
    force: bool = flag(False, "Replace the output and the report where they exist.", "--force")
    json: bool = flag(False, "Print the report as JSON on stdout instead of the path.", "--json")
    report: Path | None = flag(None, "Also write the report: FILE.html or FILE.json.", metavar="FILE")
    dry_run: bool = flag(False, "Print the recipe as TOML and stop.", "--dry-run")
    no_stamp: bool = flag(False, "Leave recipe and origin out of the model's metadata.", "--no-stamp")
    allow_unchanged: bool = flag(False, "Write the model even where nothing changed.", "--allow-unchanged")


@dataclass(frozen=True)
class JsonFlag(Group):
    """For commands that only print."""

    panel: ClassVar[str] = "Output"
    json: bool = flag(False, "Print JSON.", "--json")


@dataclass(frozen=True)
class DataFlags(Group):
    """Samples and how they are preprocessed."""

    panel: ClassVar[str] = "Data"
    data: str | None = flag(
        None, "Samples, labels not needed: npz, npy, folder, safetensors or file.py:function.", metavar="DATA"
    )
    eval_data: str | None = flag(None, "Samples that only measure; else a fifth of --data is held out.", metavar="DATA")
    map: tuple[str, ...] = flag((), "Which array feeds which input, e.g. input=x_train.", metavar="INPUT=ARRAY")
    eval_map: tuple[str, ...] = flag((), "The same for --eval-data, e.g. input=x_test.", metavar="INPUT=ARRAY")
    labels: str | None = flag(None, "Array or file with one label a sample.", metavar="NAME")
    preset: str | None = flag(
        None, "Preprocessing by name, e.g. imagenet, unit, tf.", metavar="NAME", complete="presets"
    )
    mean: str | None = flag(None, "Subtracted from each channel, e.g. 0.485,0.456,0.406.", metavar="A,B,..")
    std: str | None = flag(None, "Divides each channel, after --mean.", metavar="A,B,..")
    scale: str | None = flag(None, "Multiplies raw values first, e.g. 1/255.", metavar="NUMBER")
    layout: str | None = flag(None, "Layout of stored pictures.", metavar="[auto|nchw|nhwc]", complete="auto|nchw|nhwc")
    channel_order: str | None = flag(
        None, "Order of colours that the model wants.", metavar="[rgb|bgr]", complete="rgb|bgr"
    )
    resize: str | None = flag(
        None, "How pictures get the model's size.", metavar="[crop|stretch]", complete="crop|stretch"
    )
    size: str | None = flag(None, "Height and width where the model leaves them open.", metavar="HxW")
    samples: int | None = flag(None, "Use at most so many samples, a seeded choice.", metavar="N")

    def options(self) -> DataOptions:
        """The same as the Python API takes it."""
        from onnxcompress.api import DataOptions

        if self.eval_map and self.eval_data is None:
            hint = "Give --eval-data FILE too; it may be the same file."
            raise UsageError("--eval-map maps the arrays of --eval-data", why="there is no --eval-data", hint=hint)
        settings = {
            "mapping": pairs(self.map, "--map") or None,
            "labels": self.labels,
            "preset": self.preset,
            "mean": numbers(self.mean, "--mean"),
            "std": numbers(self.std, "--std"),
            "scale": self.scale,
            "layout": self.layout,
            "channel_order": self.channel_order,
            "resize": self.resize,
            "size": _size(self.size),
            "samples": self.samples,
        }
        given = {k: v for k, v in settings.items() if v is not None}
        return DataOptions(self.data, self.eval_data, given, pairs(self.eval_map, "--eval-map") or None)


@dataclass(frozen=True)
class QualityFlags(Group):
    """How the result is checked."""

    panel: ClassVar[str] = "Quality"
    metric: str | None = flag(
        None,
        "Your own measure f(outputs, labels) -> float or a dict of them, higher is better.",
        metavar="FILE.py:FUNCTION",
    )
    max_drop: str | None = flag(
        None, "Write nothing if more is lost: 0.5pt (points) or 1% (of the score).", metavar="LOSS"
    )
    min_sqnr: float | None = flag(None, "Write nothing below this signal-to-noise ratio.", metavar="DB")
    verify: str | None = flag(None, "How hard to check.", metavar="[quick|full]", complete="quick|full")
    latency: bool = flag(False, "Measure the time of a run before and after.", "--latency")


@dataclass(frozen=True)
class RuntimeFlags(Group):
    """The machine that the model is made for, and the one that it is made on."""

    panel: ClassVar[str] = "Target and runtime"
    target: tuple[str, ...] = flag(
        (),
        "Deployment target, see `onnxcompress targets`; ort-cpu by default. Again for more files from one calibration.",
        metavar="NAME",
        complete="targets",
    )
    shape: tuple[str, ...] = flag((), "Size of a dynamic input, e.g. x:1x3x224x224.", metavar="INPUT:DIMS")
    threads: int = flag(0, "Threads of ONNX Runtime; 0 lets it choose.", metavar="N")
    provider: tuple[str, ...] = flag((), "Execution provider of ONNX Runtime, in order of preference.", metavar="NAME")
    custom_ops: tuple[Path, ...] = flag((), "Library with custom operators to register.", metavar="LIB")
    seed: int | None = flag(None, "Seed of every random draw.", metavar="N")

    def options(self) -> RuntimeOptions:
        """Settings of every session."""
        providers = tuple(_provider(name) for name in self.provider) or RuntimeOptions().providers
        return RuntimeOptions(providers, self.threads, self.custom_ops)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Sizes by input name.

        Raises:
            UsageError: Where one is not of the form ``x:1x3x224x224``.
        """
        return dict(_shape(text) for text in self.shape)


@dataclass(frozen=True)
class MachineFlags(RuntimeFlags):
    """The same for commands that compress, which also keep statistics."""

    memory: str | None = flag(
        None, "Most memory for one layer's statistics, e.g. 500M or 2G; 1G by default.", metavar="SIZE"
    )

    def memory_bytes(self) -> int | None:
        """The ceiling in bytes; None where none was given.

        Raises:
            UsageError: Where it is no size.
        """
        return None if self.memory is None else _bytes(self.memory)


@dataclass(frozen=True)
class ScopeFlags(Group):
    """Which nodes are compressed; rewrites that keep the numbers are not bound by it."""

    panel: ClassVar[str] = "Scope"
    only: tuple[str, ...] = flag((), "Compress only these: a name, re:PATTERN or op:TYPE.", metavar="NODE")
    exclude: tuple[str, ...] = flag((), "Leave these as they are: a name, re:PATTERN or op:TYPE.", metavar="NODE")


@dataclass(frozen=True)
class LogFlags(Group):
    """What is said on stderr."""

    panel: ClassVar[str] = "Messages"
    quiet: bool = flag(False, "Say nothing but errors.", "--quiet", "-q")
    verbose: int = flag(0, "Say more; twice for everything.", "--verbose", "-v")
    no_progress: bool = flag(False, "No progress bars.", "--no-progress")
    debug: bool = flag(False, "Show the traceback of an error.", "--debug")


def pairs(texts: tuple[str, ...], name: str) -> dict[str, str]:
    """``key=value`` texts as a dictionary.

    Raises:
        UsageError: Where one has no ``=``.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not (key and separator):
            raise UsageError(f"{name} {text}", why="it has no '='", hint=f"Write {name} KEY=VALUE.")
        found[key.strip()] = value.strip()
    return found


def numbers(text: str | None, name: str) -> tuple[float, ...] | None:
    """``0.5,0.25`` as numbers.

    Raises:
        UsageError: Where a part is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as cause:
        raise UsageError(f"{name} {text}", why="it is no list of numbers", hint=f"Write {name} 0.5,0.5,0.5.") from cause


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--size {text}", why="it is not HEIGHTxWIDTH", hint="Write it like --size 224x224.")
    return int(height), int(width)


def _bytes(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    unit = units.get(text[-1:].upper(), 1)
    digits = text if unit == 1 else text[:-1]
    try:
        size = float(digits) * unit
    except ValueError:
        size = 0.0
    if not 1 << 20 <= size < 1 << 50:
        hint = "Write it like --memory 500M or --memory 2G; 1M is the least."
        raise UsageError(f"--memory {text} is no size of memory", hint=hint, code="USAGE-BAD-VALUE")
    return int(size)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, dims = text.rpartition(":")
    sizes = dims.replace("x", ",").split(",")
    if not name or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise UsageError(
            f"--shape {text}",
            why="it does not say INPUT:DIMS with sizes of 1 or more",
            hint="Write it like --shape x:1x3x224x224.",
            code="USAGE-BAD-SHAPE",
        )
    return name, tuple(int(size) for size in sizes)


def _provider(name: str) -> str:
    """``cuda`` and ``CUDAExecutionProvider`` both name ONNX Runtime's provider."""
    short = {
        "cpu": "CPU",
        "cuda": "CUDA",
        "tensorrt": "Tensorrt",
        "openvino": "OpenVINO",
        "coreml": "CoreML",
        "dml": "Dml",
    }
    return f"{short[name.lower()]}ExecutionProvider" if name.lower() in short else name
