"""Reads the minis: ONNX text in, models with seeded weights out, and what must hold after a prune."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import helper, numpy_helper

from onnxcompress import graph
from onnxcompress.report import Finding

FOLDER = Path(__file__).parents[1] / "passes" / "pruning" / "minis"
_HEADER = '<ir_version: 10, opset_import: ["": 18]>\n'
_SHAPE = re.compile(r"([\w:]+)\[([\w,]*)\]")
_NUMBERS = re.compile(r"([\w:]+)=\{([-\w,]+)\}")
_ATTRIBUTE = re.compile(r"(\w+)\.(\w+)=(\[[\w,]+\]|\w+)")
_FROZEN = re.compile(r"(\w+)!([A-Z-]+)")


@dataclass(frozen=True)
class Mini:
    """One small graph.

    Attributes:
        title: What it stresses.
        text: The model, in ONNX's text format.
        after: What holds after a prune at ratio 0.5.
    """

    title: str
    text: str
    after: str

    def model(self) -> ir.Model:
        """The model, with seeded numbers for what is declared without any."""
        proto = onnx.parser.parse_model(self.text if self.text.startswith("<") else _HEADER + self.text)
        rng = np.random.default_rng(7)
        made = {name for node in proto.graph.node for name in node.output}
        declared = [v for v in proto.graph.value_info if v.name not in made]
        del proto.graph.value_info[:]
        proto.graph.initializer.extend(_tensor(v, rng) for v in declared)
        onnx.checker.check_model(proto, full_check=True)
        return ir.from_proto(proto)

    def check(self, whole: ir.Model, pruned: ir.Model, findings: Sequence[Finding]) -> None:
        """Hold the result to `after`."""
        state, rest = _State(whole, pruned), self.after
        _check_frozen(pruned, findings, set(_FROZEN.findall(rest)))
        rest = _FROZEN.sub("", rest)
        for pattern, check in ((_NUMBERS, state.numbers), (_ATTRIBUTE, state.attribute), (_SHAPE, state.shape)):
            for words in pattern.findall(rest):
                check(*words)
            rest = pattern.sub("", rest)
        state.check_rest()
        for relation in re.split(r"\s{1,}(?=\w+[-+*\w]*(?:==|<=|<| in ))", rest.strip()):
            if relation:
                assert eval(relation, {}, dict(state.letters)), f"{relation} with {state.letters}"


class _State:
    """Constants by name and by reader, and the letters' numbers."""

    def __init__(self, whole: ir.Model, pruned: ir.Model) -> None:
        self._before, self._after = dict(_constants(whole)), dict(_constants(pruned))
        self._nodes = {value.name: node for node in pruned.graph for value in node.outputs}
        self.letters: dict[str, int] = {}
        self._told: set[str] = set()

    def shape(self, name: str, dims: str) -> None:
        self._match(f"shape of {name}", dims.split(",") if dims else [], self._array(name).shape)

    def numbers(self, name: str, numbers: str) -> None:
        self._match(f"numbers of {name}", numbers.split(","), self._array(name).ravel().tolist())

    def attribute(self, node: str, name: str, wanted: str) -> None:
        value = self._nodes[node].attributes[name].value
        found = list(value) if wanted.startswith("[") else [value]
        self._match(f"{node}.{name}", wanted.strip("[]").split(","), found)

    def check_rest(self) -> None:
        for name, array in self._after.items():
            if name not in self._told and name in self._before and array.dtype.kind in "fV":
                assert array.shape == self._before[name].shape, f"the shape of {name} changed"

    def _array(self, name: str) -> np.ndarray:
        node, colon, index = name.partition(":")
        if colon:
            value = self._nodes[node].inputs[int(index)]
            assert value is not None and value.name is not None
            name = value.name
        self._told.add(name)
        return self._after[name]

    def _match(self, what: str, wanted: Sequence[str], found: Sequence[int]) -> None:
        assert len(wanted) == len(found), f"{what}: {list(found)}, not {wanted}"
        for word, number in zip(wanted, found, strict=True):
            expected = self.letters.setdefault(word, number) if word.isalpha() else int(word)
            assert expected == number, f"{what}: {list(found)}, not {wanted} with {self.letters}"


def _constants(model: ir.Model) -> Iterator[tuple[str, np.ndarray]]:
    values = [*model.graph.initializers.values(), *(v for node in model.graph for v in node.outputs)]
    for value in values:
        tensor = value.const_value if value.is_initializer() else graph.tensor_of(value)
        if tensor is not None:
            yield value.name or "", tensor.numpy()


def _check_frozen(pruned: ir.Model, findings: Sequence[Finding], wanted: set[tuple[str, ...]]) -> None:
    outputs = {value.name for value in pruned.graph.outputs}
    found = {(f.node, f.code) for f in findings if f.code.startswith("PRUNE-FROZEN") and f.node not in outputs}
    assert found == wanted


def _tensor(value: onnx.ValueInfoProto, rng: np.random.Generator) -> onnx.TensorProto:
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if np.issubdtype(kind, np.integer):
        numbers = np.zeros(shape) if value.name.startswith("zeros") else rng.integers(-100, 100, shape)
    elif value.name.startswith("scale_"):
        numbers = rng.uniform(0.01, 0.02, shape)
    else:
        numbers = rng.normal(size=shape) * 0.5
        numbers = np.abs(numbers) + 0.5 if value.name.startswith("var") else numbers
    return numpy_helper.from_array(numbers.astype(kind), value.name)


def _read() -> Iterator[Mini]:
    for path in sorted(FOLDER.glob("*.txt")):
        for part in path.read_text().split("## ")[1:]:
            title, _, rest = part.partition("\n")
            # An arrow also stands in every signature: what follows the last one at the start of a line is the result.
            text, _, after = rest.rpartition("\n=>")
            yield Mini(title.strip(), text.strip(), after.strip())


MINIS = list(_read())
