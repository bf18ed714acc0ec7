"""With a quality gate, layers go back to float until it holds: as few as meet it, and what was tried is told."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from onnxcompress import quantize
from onnxcompress.errors import GateError
from onnxcompress.manager import PassManager
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.fallback import fewest
from onnxcompress.report import Finding, PassRecord, Report
from onnxcompress.result import Result
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

RNG = np.random.default_rng(3)
FOLDER = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", "."))


def _model(hard: tuple[int, ...] = (2, 4)) -> ir.Model:
    """Six products; behind those in `hard` one channel is 3000 times as large as the others, and read back as small."""
    names = ["x", *(f"r{i}" for i in range(1, 6)), "y"]
    lines = [f"a{i} = MatMul({names[i - 1]}, w{i})  r{i} = Relu(a{i})" for i in range(1, 6)]
    text = f"g (float[N,16] x) => (float[N,10] y) {{ {' '.join(lines)} y = MatMul(r5, w6) }}"
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(16, 16 if i < 6 else 10)).astype(np.float32) / 3 for i in range(1, 7)]
    for i in hard:
        arrays[i - 1][:, 0] *= 3000
        arrays[i][0] /= 3000
    proto.graph.initializer.extend(numpy_helper.from_array(a, f"w{i + 1}") for i, a in enumerate(arrays))
    return ir.from_proto(proto)


def _data(model: ir.Model | None = None, count: int = 200, seed: int = 1) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    if model is None:
        return {"x": x}
    return {"x": x, "labels": Session(model, RuntimeOptions(threads=1)).run({"x": x})["y"].argmax(1)}


def _run(model: ir.Model, data: dict[str, np.ndarray], **options) -> Result:
    """Generic rules leave nothing float for time's sake and pair every tensor; fast repairs nothing."""
    return quantize(model, data=data, **{"effort": "fast", "target": "generic", **options})


def _told(result: Result, code: str) -> list[Finding]:
    return [f for f in result.report.findings if f.code == code]


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_fewest_that_hold_are_found_in_twice_the_logarithm(total: int, wanted: int) -> None:
    asked: list[int] = []

    def holds(count: int) -> bool:
        asked.append(count)
        return count >= wanted

    assert fewest(total, 64, holds) == (wanted if wanted <= total else None)
    assert len(asked) <= 2 * np.log2(total) + 2 and len(set(asked)) == len(asked)


def test_a_bound_on_the_attempts_keeps_what_held_so_far() -> None:
    assert fewest(100, 5, lambda count: count >= 9) == 16
    assert fewest(100, 6, lambda count: count >= 9) == 12
    assert fewest(100, 3, lambda count: count >= 9) is None


def _gates(model: ir.Model) -> dict[str, dict]:
    def right(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
        return float((outputs["y"].argmax(1) == labels).mean())

    labelled = _data(model)
    return {
        "agreement": {"data": _data(), "max_drop": "5pt"},
        "labels": {"data": labelled, "max_drop": "5pt"},
        "metric": {"data": labelled, "max_drop": "5%", "metric": right},
        "sqnr": {"data": _data(), "min_sqnr": 25.0},
    }


@pytest.mark.parametrize("gate", ["agreement", "labels", "metric", "sqnr"])
def test_layers_go_back_to_float_until_the_gate_holds_and_each_is_told(gate: str) -> None:
    model = _model()
    result = _run(model, **_gates(model)[gate])
    summary = _told(result, "QUANT-FALLBACK")[0]
    back = _told(result, "QUANT-GIVEN-BACK")
    assert summary.numbers["held"] == 1 and 0 < summary.numbers["given_back"] < summary.numbers["of"]
    assert len(back) == summary.numbers["given_back"] and {f.node for f in back} & {"r2", "r4"}
    assert all(("costs" in f.message) == (f.numbers["time"] >= 0) and "estimated time" in f.message for f in back)
    assert "held-out samples of --data" in summary.message and summary.message in result.report.notes
    assert any(n.op_type == "QuantizeLinear" for n in result.model.graph)


def test_a_gate_that_holds_anyhow_changes_nothing() -> None:
    model = _model(())
    plain, gated = _run(model, _data()), _run(model, _data(), min_sqnr=10.0)
    assert gated.report.fingerprints["output"] == plain.report.fingerprints["output"]
    assert not _told(gated, "QUANT-FALLBACK")


def test_the_same_run_gives_the_same_bytes() -> None:
    first, second = (_run(_model(), _data(), min_sqnr=25.0).report for _ in range(2))
    assert first.fingerprints["output"] == second.fingerprints["output"]


def test_a_gate_out_of_reach_is_refused_with_what_was_tried() -> None:
    with pytest.raises(GateError, match="90 dB") as caught:
        _run(_model(), _data(), min_sqnr=90.0, evaluations=12)
    note = " ".join(caught.value.__notes__)
    assert "nearest is" in note and "tried 1, 2, 4;" in note and "SQNR" in note


def test_with_evaluation_data_others_steer_than_judge() -> None:
    model = _model()
    result = _run(model, _data(), eval_data=_data(seed=7, count=100), min_sqnr=25.0)
    summary = _told(result, "QUANT-FALLBACK")[0]
    assert summary.numbers["samples"] == 40 and "the gate looks at --eval-data" in summary.message
    assert result.report.quality["samples"] == 100


def test_a_pass_behind_it_that_changes_numbers_again_leaves_the_gate_to_the_end() -> None:
    passes = [InsertQDQ(effort="fast"), InsertQDQ(effort="fast")]
    contexts = []

    class Seen(InsertQDQ):
        steers = False

        def run(self, model, ctx):
            contexts.append(ctx.goal)
            return []

    PassManager([passes[0], Seen()], target="generic", min_sqnr=1.0).run(_model(()), data=_data())
    PassManager([Seen(), passes[0]], target="generic", min_sqnr=1.0).run(_model(()), data=_data())
    assert contexts[0] is None and contexts[1] is not None


def test_what_stayed_float_can_be_pasted_into_another_run() -> None:
    model = _model()
    report = _run(model, _data(), min_sqnr=25.0).report
    flags = shlex.split(" ".join(report.exclude))
    assert flags and set(flags[::2]) == {"--exclude"} and report.to_dict()["exclude"] == " ".join(report.exclude)
    again = _run(model, _data(), exclude=flags[1::2])
    assert len(_told(again, "QUANT-EXCLUDED")) == len(flags) // 2 and again.report.quality["sqnr_db"] > 20


def test_excludes_are_quoted_shown_in_every_form_and_missing_where_there_are_none() -> None:
    from onnxcompress.report.html import to_html

    findings = [Finding("QUANT-ISLAND", "left float", node=n) for n in ("conv 1", "a", "a")]
    report = Report(passes=[PassRecord("insert-qdq", {}, True, 0.1, {}, {}, findings)])
    assert report.exclude == ["--exclude 'conv 1'", "--exclude a"]
    assert "--exclude 'conv 1' \\\n" in str(report) and "--exclude a\n" in str(report)
    assert "--exclude &#39;conv 1&#39; \\\n--exclude a" in to_html(report)
    empty = Report()
    assert "exclude" not in empty.to_dict() and "--exclude" not in str(empty) + to_html(empty).split("<script")[0]


@pytest.mark.data
def test_a_text_direction_classifier_that_int8_ruins_is_brought_up_to_the_gate() -> None:
    from benchmarks.catalog import catalog

    entry = catalog(FOLDER)["ppocrv5_cls"]
    data = {name: array[:80] for name, array in entry.samples().train.items()}
    plain = quantize(entry.path, data=data, effort="fast", target="ort-x86-vnni")
    asked = plain.report.quality["sqnr_db"] + 3.0
    result = quantize(entry.path, data=data, effort="fast", target="ort-x86-vnni", min_sqnr=asked)
    summary = _told(result, "QUANT-FALLBACK")[0]
    assert summary.numbers["held"] == 1 and summary.numbers["attempts"] <= 32
    assert result.report.quality["sqnr_db"] >= asked and 0 < summary.numbers["given_back"] < summary.numbers["of"]
