"""The same networks in other representations: operator sets, half precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from builders.torch_export import Inputs, Net
from builders.torch_sequence_nets import sequence_nets
from builders.torch_vision_nets import vision_nets
from torch import nn

NAMES = ("resnet_option_a", "shufflenet_v2", "mobilenet_v3", "yolo", "unet", "vit", "bert", "lstm_tagger")
OPSETS = {"legacy": (11, 13, 18), "dynamo": (21,)}


def variants() -> list[Net]:
    """Some of the nets at several operator sets and in half precision."""
    nets = [net for net in (*vision_nets(), *sequence_nets()) if net.name in NAMES]
    made = [
        replace(net, name=f"{net.name}_opset{opset}", exporters=(exporter,), opset=opset)
        for net in nets
        for exporter, opsets in OPSETS.items()
        for opset in opsets
        if exporter in net.exporters
    ]
    # ONNX Runtime 1.32 dies of an LSTM in half precision that it optimizes.
    halved = [net for net in nets if net.family != "recurrent"]
    halves = [replace(n, name=f"{n.name}_fp16", build=_halved(n.build), exporters=("legacy",)) for n in halved]
    return [*made, *halves]


def _halved(build: Callable[[], tuple[nn.Module, Inputs]]) -> Callable[[], tuple[nn.Module, Inputs]]:
    def halved() -> tuple[nn.Module, Inputs]:
        module, inputs = build()
        return module.half(), {name: x.half() if x.is_floating_point() else x for name, x in inputs.items()}

    return halved
