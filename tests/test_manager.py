from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import graph, model_io, registry
from onnxcompress.data import ArraySource
from onnxcompress.errors import CompressError, GateError, InternalError, ModelError, UsageError
from onnxcompress.manager import PassManager
from onnxcompress.order import check_order, transactions
from onnxcompress.passes.base import Context, Effect, Pass, Scope, option
from onnxcompress.report import Finding, PassRecord

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 3] out)
<float[4, 3] w = {1,2,3, 0,1,1, 1,0,2, 0,1,0}, float[3] b = {0.5, 0, -1}>
{
   h = MatMul (x, w)
   out = Add (h, b)
}
"""


@dataclass(frozen=True, kw_only=True)
class Scale(Pass):
    """Multiply the weight."""

    name: ClassVar[str] = "scale"
    effect: ClassVar[Effect] = Effect.LOSSY
    factor: float = option(1.0, "By how much.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        weight = model.graph.initializers["w"]
        array = graph.array_of(weight)
        assert array is not None
        graph.set_constant(weight, (array * self.factor).astype(np.float32))
        yield Finding("SCALED", "multiplied", "w")


@dataclass(frozen=True, kw_only=True)
class ExactScale(Scale):
    """The same, claiming to be exact."""

    name: ClassVar[str] = "exact-scale"
    effect: ClassVar[Effect] = Effect.EXACT


@dataclass(frozen=True, kw_only=True)
class Break(Pass):
    """Leave an invalid graph behind."""

    name: ClassVar[str] = "break"
    effect: ClassVar[Effect] = Effect.LOSSY

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        next(iter(model.graph)).op_type = "NoSuchOperator"
        return []


@dataclass(frozen=True, kw_only=True)
class Refuse(Pass):
    """Edit, then raise."""

    name: ClassVar[str] = "refuse"

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        graph.set_constant(model.graph.initializers["w"], np.zeros((4, 3), np.float32))
        raise ModelError("cannot go on", where="node h", why="it was asked to fail")


@dataclass(frozen=True, kw_only=True)
class Look(Pass):
    """Read only."""

    name: ClassVar[str] = "look"
    effect: ClassVar[Effect] = Effect.ANALYSIS
    meddle: bool = option(False, "Break the promise.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        if self.meddle:
            model.graph.doc_string = "touched"
            graph.set_constant(model.graph.initializers["w"], np.zeros((4, 3), np.float32))
        yield Finding("SEEN", "looked", numbers={"nodes": len(model.graph)})


@dataclass(frozen=True, kw_only=True)
class Early(Pass):
    """Must not come after scale."""

    name: ClassVar[str] = "early"
    not_after: ClassVar[tuple[str, ...]] = ("scale",)

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        return []


@dataclass(frozen=True, kw_only=True)
class Hungry(Early):
    """Needs samples."""

    name: ClassVar[str] = "hungry"
    needs_data: ClassVar[str] = "always"


def _model() -> ir.Model:
    return ir.from_onnx_text(TEXT)


def _data(count: int = 200, *, labels: bool = False) -> ArraySource:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    return ArraySource({"x": x}, np.arange(count) % 3 if labels else None)


def test_the_input_model_is_never_edited() -> None:
    model = _model()
    before = model_io.fingerprint(model)
    result = PassManager([Scale(factor=2.0)]).run(model)
    assert model_io.fingerprint(model) == before
    assert result.report.fingerprints == {"input": before, "output": model_io.fingerprint(result.model)}
    assert result.report.fingerprints["output"] != before


def test_records_tell_what_each_pass_did() -> None:
    seen: list[PassRecord] = []
    manager = PassManager([Look(), Scale(factor=0.5)], on_record=seen.append)
    report = manager.run(_model()).report
    assert [r.name for r in report.passes] == ["look", "scale"] == [r.name for r in seen]
    assert [r.changed for r in report.passes] == [False, True]
    assert report.recipe == [{"pass": "look"}, {"pass": "scale", "factor": 0.5}]
    assert [f.code for f in report.findings] == ["SEEN", "SCALED"]
    assert report.before["params"] == report.after["params"] == 15


def test_an_exact_pass_that_changes_numbers_is_caught() -> None:
    with pytest.raises(CompressError) as caught:
        PassManager([ExactScale(factor=1.5)]).run(_model())
    assert any("exact-scale" in note for note in caught.value.__notes__)


def test_an_exact_pass_that_keeps_the_numbers_is_let_through() -> None:
    result = PassManager([ExactScale(factor=1.0 + 1e-7)], allow_unchanged=True).run(_model())
    assert result.report.passes[0].name == "exact-scale"


def test_an_invalid_graph_is_caught() -> None:
    with pytest.raises(CompressError) as caught:
        PassManager([Break()]).run(_model())
    assert "break" in " ".join(caught.value.__notes__)


def test_a_refusal_carries_the_name_of_the_pass_and_leaves_the_input() -> None:
    model = _model()
    before = model_io.fingerprint(model)
    with pytest.raises(ModelError, match="cannot go on") as caught:
        PassManager([Scale(factor=2.0), Refuse()]).run(model)
    assert "refuse" in " ".join(caught.value.__notes__)
    assert model_io.fingerprint(model) == before


def test_an_analysis_may_not_edit() -> None:
    with pytest.raises(InternalError, match="analysis pass look changed the model"):
        PassManager([Look(meddle=True)]).run(_model())


def test_order_rules_are_checked_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="early cannot run after scale"):
        PassManager([Scale(factor=2.0), Early()])
    check_order([Early(), Scale()])


@pytest.mark.parametrize("quantizer", ["insert-qdq", "quantize-weights"])
@pytest.mark.parametrize("late", ["fold-batchnorm", "reconstruct", "prune-weights"])
def test_what_edits_float_weights_comes_before_quantization(quantizer: str, late: str) -> None:
    passes = [registry.make_pass(name, {}) for name in (quantizer, late)]
    with pytest.raises(UsageError, match=f"{late} cannot run after {quantizer}"):
        check_order(passes)
    check_order(passes[::-1])


def test_a_run_that_changes_nothing_is_refused() -> None:
    with pytest.raises(GateError, match="nothing was compressed") as caught:
        PassManager([Scale(factor=1.0)]).run(_model())
    assert caught.value.exit_code == 5
    assert PassManager([Scale(factor=1.0)], allow_unchanged=True).run(_model()).report.after
    assert PassManager([Look()]).run(_model()).report.after
    with pytest.raises(GateError, match="nothing was compressed"):
        PassManager([ExactScale(factor=1.0 + 1e-7), Scale(factor=1.0)]).run(_model())


def test_missing_data_is_named_before_any_work() -> None:
    with pytest.raises(UsageError, match="hungry needs samples"):
        PassManager([Hungry()]).run(_model())
    with pytest.raises(UsageError, match="gate cannot be checked"):
        PassManager([Scale(factor=2.0)], max_drop="1pt").run(_model())


def test_without_data_the_report_says_so() -> None:
    report = PassManager([Scale(factor=2.0)]).run(_model()).report
    assert report.quality == {}
    assert any("NOT measured" in note for note in report.notes)


def test_one_sample_leaves_none_to_measure_on() -> None:
    report = PassManager([Scale(factor=2.0)]).run(_model(), data=_data(1)).report
    assert report.quality == {}
    assert any("one sample leaves none to measure on" in note for note in report.notes)


@pytest.mark.parametrize(("factor", "labels", "said"), [(2.0, False, True), (2.0, True, False), (1.01, False, False)])
def test_outputs_far_apart_are_said_where_nothing_else_tells(factor: float, labels: bool, said: bool) -> None:
    report = PassManager([Scale(factor=factor)]).run(_model(), data=_data(labels=labels)).report
    assert any("far from the reference's" in note for note in report.notes) == said


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="--seed -1 is negative"):
        PassManager([Scale(factor=2.0)]).run(_model(), seed=-1)


def test_a_fifth_is_held_out_and_measures() -> None:
    report = PassManager([Scale(factor=2.0)]).run(_model(), data=_data(labels=True)).report
    assert report.quality["samples"] == 40
    assert 0.0 <= report.quality["accuracy_before"] <= 1.0
    assert report.quality["relative_l2"] > 0.1


def test_held_out_samples_never_calibrate() -> None:
    seen: list[set[float]] = []

    @dataclass(frozen=True, kw_only=True)
    class Peek(Scale):
        """Remember the samples."""

        def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
            assert ctx.data is not None
            assert ctx.held_out is not None
            for source in (ctx.data, ctx.held_out):
                seen.append(set(source.read(range(len(source)))["x"][:, 0].tolist()))
            return super().run(model, ctx)

    PassManager([Peek(factor=2.0)]).run(_model(), data=_data())
    assert len(seen[0]) == 160
    assert len(seen[1]) == 40
    assert not seen[0] & seen[1]


@pytest.mark.parametrize(("gate", "code"), [({"max_drop": "1pt"}, "GATE-MAX-DROP"), ({"min_sqnr": 30.0}, "GATE-SQNR")])
def test_a_gate_that_is_not_met_raises(gate: dict[str, Any], code: str) -> None:
    with pytest.raises(GateError) as caught:
        PassManager([Scale(factor=-1.0)], **gate).run(_model(), data=_data(1000))
    assert caught.value.code == code


def test_a_gate_finer_than_one_sample_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="at least 200 samples"):
        PassManager([Scale(factor=2.0)], max_drop="0.5pt").run(_model(), data=_data(100, labels=True))


def test_a_pattern_without_a_match_is_an_error() -> None:
    with pytest.raises(UsageError, match="matches no node"):
        PassManager([Scale(factor=2.0)]).run(_model(), scope=Scope(exclude=("op:Conv",)))


def test_analyses_are_dropped_when_the_graph_changes() -> None:
    counts: list[float] = []

    @dataclass(frozen=True, kw_only=True)
    class Sum(Look):
        """Cache the sum of the weight."""

        name: ClassVar[str] = "sum"

        def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
            weight = graph.array_of(model.graph.initializers["w"])
            assert weight is not None
            counts.append(ctx.analyses.get("sum", lambda: float(weight.sum())))
            return []

    PassManager([Sum(), Sum(), Scale(factor=2.0), Sum()]).run(_model())
    assert counts[0] == counts[1]
    assert counts[2] == 2 * counts[0]


def test_the_result_repeats_from_its_recipe() -> None:
    result = PassManager([Scale(factor=2.0)], target="tensorrt", max_drop="50%").run(_model(), data=_data(), seed=7)
    assert result.recipe.settings == {"target": "tensorrt", "seed": 7, "verify": "quick", "max_drop": "50%"}
    assert result.recipe.passes == (Scale(factor=2.0),)


def test_passes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scale().factor = 2.0  # type: ignore[misc]


def test_with_a_teacher_the_student_is_measured_against_it() -> None:
    teacher = _model()
    student = PassManager([Scale(factor=-1.0)]).run(teacher).model
    result = PassManager([Scale(factor=-1.0)]).run(student, data=_data(labels=True), teacher=teacher)
    quality = result.report.quality
    assert quality["top1_agreement"] == 1.0
    assert quality["top1_agreement_before"] < 1.0
    assert quality["accuracy_after"] == quality["accuracy_teacher"]
    assert result.report.teacher == model_io.fingerprint(teacher)


def test_with_a_teacher_several_metrics_are_those_of_the_student_before_and_after() -> None:
    def both(outputs: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
        right = float((outputs["out"].argmax(1) == labels).mean())
        return {"right": right, "twice": 2 * right}

    teacher = _model()
    student = PassManager([Scale(factor=-1.0)]).run(teacher).model
    result = PassManager([Scale(factor=-1.0)]).run(student, data=_data(labels=True), teacher=teacher, metric=both)
    quality = result.report.quality
    assert quality["metrics"]["right"] == [quality["accuracy_before"], quality["accuracy_after"]]
    assert [quality["metric_before"], quality["metric_after"]] == quality["metrics"][quality["metric_name"]]
    teachers = {"right": quality["accuracy_teacher"], "twice": 2 * quality["accuracy_teacher"]}
    assert quality["metric_teacher"] == teachers[quality["metric_name"]]


def test_exact_passes_in_a_row_share_a_transaction() -> None:
    groups = transactions([Look(), ExactScale(), Scale(), Scale(), Early()])
    assert [[p.name for p in group] for group in groups] == [["look", "exact-scale"], ["scale"], ["scale"], ["early"]]


def test_options_are_checked_before_any_work(tmp_path):
    manager = PassManager([registry.make_pass("prune-channels", {"ratio": 1.0})])
    with pytest.raises(UsageError, match="--ratio 1 is out of range"):
        manager.run(tmp_path / "not-there.onnx")
