from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.errors import CompressError, ModelError, UsageError
from onnxcompress.passes.base import Context, Effect, Pass, option
from onnxcompress.passes.fold_batchnorm import FoldBatchNorm
from onnxcompress.passes.normalize import Normalize
from onnxcompress.report import Finding
from onnxcompress.testing import check_pass


@dataclass(frozen=True, kw_only=True)
class _Scale(Pass):
    """Multiply every float initializer of two axes or more."""

    name: ClassVar[str] = "scale"
    effect: ClassVar[Effect] = Effect.LOSSY
    factor: float = option(0.5, "What to multiply by.")

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        for value in model.graph.initializers.values():
            if value.dtype == ir.DataType.FLOAT and len(value.const_value.shape) > 1 and not value.is_graph_input():
                value.const_value = self.scaled(value.const_value, value.name)
        return [Finding("SCALE-DONE", "scaled")]

    def scaled(self, tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
        return ir.tensor((tensor.numpy() * self.factor).astype(np.float32), name=name)


class _ExactByName(_Scale):
    """Claims to be exact and is not."""

    effect: ClassVar[Effect] = Effect.EXACT


class _InPlace(_Scale):
    """Writes into a tensor that the original model shares."""

    def scaled(self, tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
        array = tensor.numpy()
        array.setflags(write=True)
        array *= np.float32(self.factor)
        return tensor


class _Chance(_Scale):
    """Draws without a seed."""

    def scaled(self, tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
        return ir.tensor(tensor.numpy() * np.random.default_rng().random(dtype=np.float32), name=name)


class _Infinite(_Scale):
    """Makes numbers that are not finite."""

    def scaled(self, tensor: ir.TensorProtocol, name: str) -> ir.TensorProtocol:
        return ir.tensor(np.full_like(tensor.numpy(), np.nan), name=name)


class _Nameless(_Scale):
    """Gives a finding without a proper code."""

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        return [Finding("done", "well")]


class _Renames(_Scale):
    """Renames an output."""

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        model.graph.outputs[0].name = "other"
        return []


class _Looks(_Scale):
    """An analysis that edits."""

    effect: ClassVar[Effect] = Effect.ANALYSIS


class _Refuses(_Scale):
    """Refuses every model by name."""

    def run(self, model: ir.Model, ctx: Context) -> Iterable[Finding]:
        raise ModelError("cannot scale", code="MODEL-SCALE")


@dataclass(frozen=True, kw_only=True)
class _Forgets(_Scale):
    """Loses an option in its recipe entry."""

    def spec(self) -> dict[str, object]:
        return {"pass": self.name}


def test_the_first_passes_conform() -> None:
    report = check_pass(Normalize(), idempotent=True)
    assert report.models > 40
    assert report.changed > 10
    assert not report.refused
    assert check_pass(FoldBatchNorm(), idempotent=True).findings["FOLD-DONE"] > 0


def test_a_lossy_pass_may_change_numbers() -> None:
    report = check_pass(_Scale(factor=0.25), seed=7)
    assert report.findings["SCALE-DONE"] == report.models
    assert "scale: " in str(report)


@pytest.mark.parametrize(
    ("pass_", "code"),
    [
        (_ExactByName(), "CONFORMANCE-NUMBERS"),
        (_InPlace(), "CONFORMANCE-ORIGINAL"),
        (_Chance(), "CONFORMANCE-DETERMINISM"),
        (_Infinite(), "CONFORMANCE-NUMBERS"),
        (_Nameless(), "CONFORMANCE-FINDING"),
        (_Renames(), "CONFORMANCE-STRUCTURE"),
        (_Looks(), "CONFORMANCE-ANALYSIS"),
        (_Forgets(factor=0.3), "CONFORMANCE-SPEC"),
    ],
)
def test_each_broken_obligation_is_named(pass_: Pass, code: str) -> None:
    with pytest.raises(CompressError) as caught:
        check_pass(pass_)
    assert caught.value.code == code
    assert code == "CONFORMANCE-SPEC" or "random_model" in caught.value.where


def test_a_pass_that_keeps_changing_is_not_idempotent() -> None:
    with pytest.raises(CompressError) as caught:
        check_pass(_Scale(), idempotent=True)
    assert caught.value.code == "CONFORMANCE-IDEMPOTENCE"


def test_a_refusal_by_name_is_counted_and_is_no_failure() -> None:
    report = check_pass(_Refuses())
    assert report.refused["MODEL-SCALE"] == report.models
    assert report.changed == 0


def test_the_failing_model_is_written_only_where_asked(tmp_path: Path) -> None:
    with pytest.raises(CompressError) as caught:
        check_pass(_ExactByName(), repro=tmp_path / "repro")
    assert str(tmp_path) in caught.value.hint
    assert sorted(p.name for p in (tmp_path / "repro").iterdir()) == ["feeds.npz", "model.onnx"]
    with pytest.raises(CompressError, match="repro=FOLDER"):
        check_pass(_ExactByName())


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(UsageError, match="quick, full"):
        check_pass(Normalize(), models="some")


@pytest.mark.nightly
@pytest.mark.parametrize("pass_", [Normalize(), FoldBatchNorm()])
def test_the_first_passes_conform_on_everything(pass_: Pass) -> None:
    assert check_pass(pass_, models="full", seed=1000, idempotent=True).models > 1500
