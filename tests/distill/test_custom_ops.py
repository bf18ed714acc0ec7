"""Torch forms that the user gives: the page's example, files, entry points, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.distill_models import array, model
from builders.distill_steps import gradient

from onnxcompress.distill import custom_ops, load_ops, op
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.custom_ops import CustomOp
from onnxcompress.errors import ModelError, UsageError

PAGE = (Path(__file__).parents[2] / "docs" / "writing-an-op.md").read_text(encoding="utf-8")
TEXT = """<ir_version: 8, opset_import: ["" : 17, "my.domain" : 1]>
net (float[N, 4] x) => (float[N, 2] y) <float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}> {
    m = MatMul (x, w)
    s = my.domain.Swish6 <beta = 2.0> (m)
    a, b = my.domain.Halves (s)
    y = Add (a, b)
}"""
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The page's example."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_ops.py").write_text(code, encoding="utf-8")
    return str(tmp_path / "my_ops.py")


def test_the_example_of_the_page_is_trained_through(file: str) -> None:
    made = model(TEXT)
    bridge = Bridge(made, ops=load_ops([file]))
    found = bridge.specialise({"x": X}).run({"x": X})["y"]
    m = torch.from_numpy(X) @ torch.from_numpy(array(made, "w"))
    s = torch.clamp(m * torch.sigmoid(2 * m), max=6.0)
    torch.testing.assert_close(found, s[:, :2] + s[:, 2:])
    found.sum().backward()
    ((weight, parameter),) = bridge.trainable()
    assert weight.name == "w"
    assert gradient(parameter).abs().sum() > 0


def test_a_function_may_look_at_numbers_and_goes_before_the_library() -> None:
    @op("Relu")
    def positive(_: Any, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 1e9 else x + 1

    made = model('<ir_version: 8, opset_import: ["" : 17]> net (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }')
    found = Bridge(made, ops={"Relu": positive}).specialise({"x": X}).run({"x": X})["y"]
    np.testing.assert_array_equal(found, X + 1)
    np.testing.assert_array_equal(Bridge(made).specialise({"x": X}).run({"x": X})["y"], np.maximum(X, 0))


def test_the_refusal_names_op_node_and_both_ways_out() -> None:
    text = TEXT.replace("s = my.domain.Swish6", "c = Shape (m)  s = my.domain.Swish6")
    with pytest.raises(ModelError) as caught:
        Bridge(model(text)).specialise({"x": X})
    error = caught.value
    assert error.where == "my.domain::Swish6 node 's'"
    assert "--until m," in (error.hint or "")
    assert "--ops FILE.py" in (error.hint or "")
    assert error.code == "MODEL-DISTILL-OP"
    Bridge(model(text), until=["m"]).specialise({"x": X})


def test_a_first_op_that_is_unknown_has_no_part_before_it() -> None:
    with pytest.raises(ModelError) as caught:
        Bridge(model(TEXT.replace("MatMul (x, w)", "my.domain.Odd (x)"))).specialise({"x": X})
    assert "--until" not in (caught.value.hint or "")


class Entry:
    """An entry point."""

    def __init__(self, name: str, value: object) -> None:
        self.name, self._value = name, value

    def load(self) -> object:
        """What it names."""
        return self._value


def test_entry_points_are_found_and_a_file_goes_before_them(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = CustomOp(("my.domain::Swish6", "my.domain::Other"), lambda node, x: x)
    monkeypatch.setattr(custom_ops, "entry_points", lambda group: [Entry("mine", mine)] * (group == custom_ops.GROUP))
    assert load_ops()["my.domain::Swish6"] is mine
    assert load_ops([file])["my.domain::Swish6"] is not mine
    assert load_ops([file])["my.domain::Other"] is mine
    monkeypatch.setenv("ONNXCOMPRESS_NO_PLUGINS", "1")
    assert load_ops() == {}


def test_what_cannot_be_loaded_is_told(file: str, tmp_path: Path) -> None:
    for name, text, why in (("a.py", "x = 1", "marks no function"), ("b.py", "1 / 0", "ZeroDivisionError")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=why):
            load_ops([str(tmp_path / name)])
    with pytest.raises(UsageError, match="no such file"):
        load_ops([str(tmp_path / "none.py")])
    (tmp_path / "again.py").write_text(Path(file).read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UsageError, match="both give a torch form"):
        load_ops([file, str(tmp_path / "again.py")])


def test_a_file_that_ends_the_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("raise SystemExit(0)", encoding="utf-8")
    with pytest.raises(UsageError, match="SystemExit: 0"):
        load_ops([str(tmp_path / "ends.py")])


def _refuses(node: Any, _: torch.Tensor) -> torch.Tensor:
    raise node.refuse("it is told to", "Do not.")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda node, x: x / node.nothing, "AttributeError: .*nothing"),
        (lambda _, x: x * (1 // 0), "ZeroDivisionError"),
        (lambda _, x: x @ x, "RuntimeError"),
        (lambda _, x: 3, "it gave int in place of a tensor"),
        (lambda _, x: None, "it gave NoneType in place of a tensor"),
        (lambda _, x: (), "it gave nothing in place of a tensor"),
    ],
)
def test_a_function_that_fails_is_the_users_fault_and_named(function: Any, why: str) -> None:
    made = model('<ir_version: 8, opset_import: ["" : 17]> net (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }')
    with pytest.raises(UsageError, match=f"operator failed .*for Relu node 'y'.*{why}"):
        Bridge(made, ops={"Relu": CustomOp(("Relu",), function)}).specialise({"x": X})


def test_a_function_may_refuse_the_node() -> None:
    made = model('<ir_version: 8, opset_import: ["" : 17]> net (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }')
    with pytest.raises(ModelError, match="it is told to"):
        Bridge(made, ops={"Relu": CustomOp(("Relu",), _refuses)}).specialise({"x": X})
