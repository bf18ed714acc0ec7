"""The pass's post-condition: made before the cut, asked after it.

Quick (`--verify quick`): both models run once, at a batch that the trace did not see, and the result once more at the
traced one. Full: both at the traced sizes, another batch and other lengths, each without and with ONNX Runtime's
optimizations, besides the permutation test and a cut of nothing. Beside the model itself one copy with zeroed weights
is held, and one session at a time.

Equal means: within `recording.LIMITS` of the tensor's largest value, or, up to `tolerance_of`, within a few times what
the model's own rounding gives: the difference that one unit in the last place of every weight makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxcompress import model_io, verify
from onnxcompress.errors import CompressError
from onnxcompress.graph import array_of, clone, set_constant
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.oracles.failure import difference, failure, first_difference
from onnxcompress.passes.pruning.oracles.permutation_test import permuted
from onnxcompress.passes.pruning.oracles.probes import Feeds, other_batch, other_lengths, traced_probe
from onnxcompress.passes.pruning.oracles.recording import Recording, gaps, limit_of, narrow, record, shapes_differ
from onnxcompress.passes.pruning.oracles.zero_test import changes_statistics, zeroed
from onnxcompress.passes.pruning.surgery import Cut, kept
from onnxcompress.report import Finding
from onnxcompress.shapes.table import ShapeTable
from onnxcompress.verify.exact import tolerance_of
from onnxcompress.verify.freed import left

ROUNDING = 8.0
"""How many times the difference that the last place of the weights makes still counts as rounding."""

DEEP = 4.0
"""Steps of quantization that rounding may come to in a deep model, where a flipped step flips others after it."""


@dataclass(frozen=True)
class Compared:
    """What a comparison found: the worst difference, how many tensors were compared, and those in doubt.

    Attributes:
        worst: Largest difference, of the range.
        tensors: How many tensors could be compared.
        doubtful: Differences that are not rounding for certain, by tensor.
    """

    worst: float
    tensors: int
    doubtful: Mapping[str, float]


class PostCondition:
    """What a cut must satisfy.

    Args:
        cut: Decided, not yet applied.
        table: Shapes under the traced probe.
        ctx: Runtime, seed, samples, and how much to verify.

    Raises:
        InternalError: Where the permutation test fails already: the trace is wrong.
    """

    def __init__(self, cut: Cut, table: ShapeTable, ctx: Context) -> None:
        self._cut, self._table, self._ctx = cut, table, ctx
        self._full, self._exact = ctx.verify == "full", not changes_statistics(cut)
        self._kept = kept(cut, {})
        model = cut.found.model
        self._traced = traced_probe(model, table, ctx)
        self._probes = self._sizes(model)
        self._whole = zeroed(cut)
        self._wanted = self._reference()
        self._permuted = self._permutation(model) if self._full or not self._exact else None

    def check(self, model: ir.Model) -> Finding:
        """Hold the result to everything.

        Raises:
            InternalError: Saying what is wrong, where and why.
        """
        complaint = verify.inference_complaint(model)
        if complaint and not verify.inference_complaint(self._whole):
            raise failure("shapes do not fit together after the cut", complaint)
        names = self._wanted.names if self._exact else ()
        got = [self._recorded(model, names, optimize=False)]
        found = [self._compared(model, self._wanted, got[0])]
        if self._full:
            plain, fused = self._record(self._whole, optimize=True), self._recorded(model, names, optimize=True)
            found.append(self._compared(model, plain, fused))
        else:
            self._check_traced_sizes(model)
        return self._finding(max(each.worst for each in found), compared=found[0].tensors > 0)

    def _sizes(self, model: ir.Model) -> list[Feeds]:
        batch = other_batch(model, self._table, self._ctx)
        if not self._full:
            return [self._traced if batch is None else batch]
        lengths = other_lengths(model, self._table, self._ctx)
        return [feeds for feeds in (self._traced, batch, lengths) if feeds is not None]

    def _reference(self) -> Recording:
        """What the masked original computes; at the traced sizes alone where its masks fit no others.

        A mask is a constant: along an axis that merges the batch with channels it has the traced size.
        """
        try:
            return self._record(self._whole)
        except CompressError:
            if all(feeds is self._traced for feeds in self._probes):
                raise
            self._probes = [self._traced]
            return self._record(self._whole)

    def _record(self, model: ir.Model, *, optimize: bool = False) -> Recording:
        return record(model, self._probes, self._ctx.runtime, optimize=optimize)

    def _recorded(self, model: ir.Model, names: Sequence[str], *, optimize: bool) -> Recording:
        try:
            return record(model, self._probes, self._ctx.runtime, names=names, optimize=optimize)
        except CompressError as fault:
            raise failure("ONNX Runtime does not run the cut model", fault.why or str(fault), fault.where) from fault

    def _check_traced_sizes(self, model: ir.Model) -> None:
        """The result at the traced sizes, at which the table knows every output's shape."""
        if self._probes[0] is self._traced:
            return
        try:
            got = record(model, [self._traced], self._ctx.runtime, names=())
        except CompressError as fault:
            raise failure("ONNX Runtime does not run the cut model", fault.why or str(fault), fault.where) from fault
        freed = left(self._whole, model)
        for name in got.outputs:
            wanted, found = self._table.probe(name), getattr(got.runs[0][name], "shape", None)
            if wanted is not None:
                wanted = tuple(len(freed[name][a]) if a in freed.get(name, {}) else n for a, n in enumerate(wanted))
            if wanted is not None and found is not None and wanted != found:
                raise failure("a cut changed an output", f"its shape {list(wanted)} became {list(found)}", name)

    def _compared(self, model: ir.Model, wanted: Recording, got: Recording) -> Compared:
        """How far apart they are; raises where it is no rounding."""
        inner = {name: axes for name, axes in self._kept.items() if name not in wanted.outputs}
        places = {name: {a: np.array(at) for a, at in axes.items()} for name, axes in inner.items()}
        wanted = narrow(wanted, {**places, **left(self._whole, model)})
        for name, how in shapes_differ(wanted, got):
            raise failure("a cut changed an output", how, name)
        found = self._judged(wanted, got, self._whole, model)
        for name, apart in found.doubtful.items():
            node = first_difference(self._whole, model, self._traced, self._kept, self._ctx.runtime)
            raise difference("the cut model computes other numbers than the masked original", name, apart, node)
        return found

    def _judged(self, wanted: Recording, got: Recording, reference: ir.Model, model: ir.Model) -> Compared:
        limit, known = limit_of(reference, model), tolerance_of(reference, model)
        most = known.relative * (DEEP if known.dtype == "quantized" else 1.0)
        apart = gaps(wanted, got, limit.within)
        doubtful = {name: found for name, found in apart.items() if not found <= limit.relative}
        if doubtful and all(found <= most for found in doubtful.values()):
            own = gaps(wanted, self._record(_nudged(reference)), limit.within)
            doubtful = {name: found for name, found in doubtful.items() if found > ROUNDING * own.get(name, 0.0)}
        return Compared(max(apart.values(), default=0.0), len(apart), doubtful)

    def _permutation(self, model: ir.Model) -> float | None:
        """The permutation test's difference; None where no two channels may trade places."""
        turned = permuted(self._cut, self._ctx.seed)
        if turned is None:
            return None
        changed, moved = turned
        wanted = self._record(model)
        wanted = replace(wanted, names=tuple(name for name in wanted.names if name not in moved))
        got = record(changed, self._probes, self._ctx.runtime, names=wanted.names)
        found = self._judged(wanted, got, model, changed)
        for name, apart in found.doubtful.items():
            raise difference("channels that traded places everywhere changed the numbers", name, apart, "")
        return found.worst if found.tensors else None

    def _finding(self, worst: float, *, compared: bool) -> Finding:
        numbers: dict[str, float | int | str] = {"probes": len(self._probes)}
        if self._permuted is not None:
            numbers["permuted"] = self._permuted
        if not compared:
            more = "" if self._permuted is None else f"; permuted channels left them alone ({self._permuted:.1e})"
            text = f"numbers cannot be compared with the masked original; shapes were{more}"
            return Finding("PRUNE-STATISTICS", text, numbers=numbers)
        text = f"the result equals the original with the removed channels at zero (difference {worst:.1e} of the range)"
        return Finding("PRUNE-EXACT", text, numbers={"error": worst, **numbers})


def check_identity(model: ir.Model, cut_nothing: Callable[[], None]) -> None:
    """A cut of nothing leaves every byte as it is.

    Args:
        model: The model that is cut.
        cut_nothing: Cuts nothing out of it, in place.

    Raises:
        InternalError: Where it changed something.
    """
    before = model_io.fingerprint(model)
    cut_nothing()
    if model_io.fingerprint(model) != before:
        raise failure("a cut of nothing changed the model", "a size or an attribute was written anew")


def _nudged(model: ir.Model) -> ir.Model:
    """The model with every float constant off by one unit in its last place, up or down."""
    copy, rng = clone(model), np.random.Generator(np.random.PCG64(0))
    for value in list(copy.graph.initializers.values()):
        numbers = array_of(value)
        if numbers is not None and numbers.dtype.kind == "f" and numbers.size > 1:
            step = np.finfo(numbers.dtype).eps * rng.choice([-1.0, 1.0], numbers.shape)
            set_constant(value, (numbers * (1 + step)).astype(numbers.dtype))
    return copy
