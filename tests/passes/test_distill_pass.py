"""The pass: its options, and what it says without data or torch."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
from builders.distill_models import pictures, residual, with_cut_blocks

from onnxcompress.errors import UsageError
from onnxcompress.passes.distill import Distill
from onnxcompress.testing.contexts import context


def test_it_trains_a_student():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    codes = [
        f.code
        for f in Distill(steps=30, lr="0.003").run(student, context(student, teacher=teacher, data=pictures(200)))
    ]
    assert codes[-1] == "DISTILL-TRAINED"


def test_without_data_it_says_what_to_give():
    with pytest.raises(UsageError, match="Give --data FILE"):
        Distill().run(residual(), context(residual()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": "fast"},
        {"lr": "0"},
        {"lr": "nan"},
        {"lr": "inf"},
        {"steps": -1},
        {"batch_size": 0},
        {"temperature": 0.0},
        {"teacher_lr_mult": -1.0},
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, Any]):
    with pytest.raises(UsageError) as caught:
        Distill(**wrong).check()
    assert caught.value.where == f"option {next(iter(wrong))}"


def test_without_torch_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    for name in [n for n in sys.modules if n.startswith("onnxcompress.distill.") or n.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises((UsageError, ModuleNotFoundError)) as caught:
        Distill().run(residual(), context(residual(), data=pictures(2)))
    assert isinstance(caught.value, UsageError), "an absent torch is the user's to install"
    assert "onnxcompress[distill]" in caught.value.hint
    assert importlib.util.find_spec("onnxcompress.passes.distill")
