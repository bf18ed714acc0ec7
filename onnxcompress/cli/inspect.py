"""``onnxcompress inspect``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from onnxcompress.cli.build import build
from onnxcompress.cli.console import Terminal, write_result
from onnxcompress.cli.options import Group, JsonFlag, LogFlags, ModelPath, RuntimeFlags, flag

if TYPE_CHECKING:
    from onnxcompress.report.inspection import Inspection, Layer, Tensor


@dataclass(frozen=True)
class InspectFlags(Group):
    """How much is shown."""

    panel: ClassVar[str] = "Options"
    nodes: bool = flag(False, "List the names of all nodes, for --only and --exclude.", "--nodes")
    top: int = flag(5, "Show so many of the heaviest layers (default 5).", metavar="N")


def inspect(model: ModelPath, options: InspectFlags, output: JsonFlag, runtime: RuntimeFlags, log: LogFlags) -> None:
    """Show what a model is made of: parameters, MACs, bytes, operators, inputs, quantization, heaviest layers."""
    from onnxcompress.model_io.precheck import precheck

    source = precheck(model)
    with Terminal(log):
        from onnxcompress.model_io import load
        from onnxcompress.report.inspection import inspect_model

        found = inspect_model(load(source), shapes=runtime.shapes(), runtime=runtime.options())
    if output.json:
        write_result(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        write_result("\n".join(found.names) if options.nodes else _text(found, options.top))


def _text(found: Inspection, top: int) -> str:
    from onnxcompress.report.units import LABELS, cost

    lines = [f"{label:<14} {cost(key, found.costs[key])}" for key, label in LABELS.items()]
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found.opsets.items())
    lines += [f"{'opset':<14} {opsets}", f"{'IR version':<14} {found.ir_version}"]
    lines += [f"{'producer':<14} {found.producer}"] if found.producer else []
    lines += [f"{'quantization':<14} {_quantization(found.quantization)}", ""]
    lines += [f"input   {_tensor(t)}" for t in found.inputs] + [f"output  {_tensor(t)}" for t in found.outputs]
    lines += ["", "operators", *_columns(found.operators)]
    for key, title in (("macs", "most multiply-adds"), ("params", "most parameters")):
        lines += _layers(found.heaviest(key, top), key, title, found.costs[key])
    return "\n".join(lines + [f"note: {note}" for note in found.notes])


def _quantization(state: dict[str, Any]) -> str:
    if state["state"] == "none":
        return "none"
    return f"{state['state']}, {100 * state['macs_share']:.0f} % of the multiply-adds on integers"


def _tensor(tensor: Tensor) -> str:
    dims = "?" if tensor.shape is None else " x ".join("?" if d is None else str(d) for d in tensor.shape) or "scalar"
    return f"{tensor.name}  {tensor.dtype}  {dims}"


def _columns(counts: dict[str, int], width: int = 78) -> list[str]:
    lines, line = [], " "
    for name, count in counts.items():
        word = f" {name} {count}"
        if len(line) + len(word) > width:
            lines.append(line)
            line = " "
        line += word + ","
    return [*lines, line.rstrip(",")]


def _layers(layers: list[Layer], key: str, title: str, whole: int) -> list[str]:
    from onnxcompress.report.units import count

    if not layers:
        return []
    figures = [getattr(layer, key) for layer in layers]
    rows = [
        f"  {count(figure):>8}  {100 * figure / max(whole, 1):5.1f} %  {layer.op}  {layer.name}"
        for figure, layer in zip(figures, layers, strict=True)
    ]
    return ["", title, *rows]


def command() -> Any:
    """The command, ready to be run."""
    return build(inspect, name="inspect")
