"""Architectures as torch modules: built with weights as trained ones have them, and exported to ONNX."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Inputs = dict[str, torch.Tensor]
"""Example inputs by the name that they get in the file."""

NORM_WORDS = ("norm", "rms")


@dataclass(frozen=True)
class Net:
    """An architecture.

    Attributes:
        name: Name of the file, without the exporter.
        build: Makes the module and its example inputs, with whatever weights torch draws.
        family: ``cnn``, ``transformer`` or ``recurrent``.
        free: Axes that may have any size, by input: {axis: symbol}.
        exporters: Those of torch that write it: ``legacy`` (TorchScript), ``dynamo``.
        opset: Of the file; None is the exporter's own choice.
    """

    name: str
    build: Callable[[], tuple[nn.Module, Inputs]]
    family: str = "cnn"
    free: dict[str, dict[int, str]] = field(default_factory=dict)
    exporters: tuple[str, ...] = ("legacy", "dynamo")
    opset: int | None = None


def built(net: Net) -> tuple[nn.Module, Inputs]:
    """The module in eval mode and its inputs, the same at each call.

    A freshly built network hides mistakes: its biases are zero and its norms do nothing, so a wrong slice of them is
    never seen; and its activations vanish or explode with depth, so that every difference is called rounding.
    """
    torch.manual_seed(zlib.crc32(net.name.encode()))
    module, inputs = net.build()
    module.eval()
    with torch.no_grad():
        _widen_matrices(module)
        _draw_vectors(module)
        _fit_statistics(module, inputs)
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad=False)
    return module, inputs


def export(net: Net, exporter: str, path: Path) -> None:
    """Write `net` to `path` by one of torch's exporters."""
    module, inputs = built(net)
    options: dict[str, Any] = {"input_names": list(inputs), "opset_version": net.opset, "dynamo": exporter == "dynamo"}
    if exporter == "dynamo":
        options |= {"dynamic_shapes": _dynamic(net, module, inputs), "external_data": False, "verbose": False}
    elif net.free:
        options["dynamic_axes"] = {name: axes for name, axes in net.free.items() if name in inputs}
    with torch.no_grad():
        torch.onnx.export(module, tuple(inputs.values()), str(path), **options)


def _dynamic(net: Net, module: nn.Module, inputs: Inputs) -> Any:
    """Axes that may vary, in the words of torch.export; AUTO lets it keep one fixed that the code fixes."""
    if not net.free:
        return None
    auto = torch.export.Dim.AUTO
    axes = tuple(dict.fromkeys(net.free.get(name, {}), auto) for name in inputs)
    kinds = {parameter.kind for parameter in inspect.signature(module.forward).parameters.values()}
    return (axes,) if inspect.Parameter.VAR_POSITIONAL in kinds else axes


def _widen_matrices(module: nn.Module, least: float = 0.8) -> None:
    """Matrices so small that their branch would vanish beside the residual (0.02 at any width) get a usual gain."""
    for parameter in module.parameters():
        if parameter.ndim > 1 and parameter.is_floating_point() and parameter.numel() > parameter.shape[0]:
            gain = float(parameter.std()) * (parameter.numel() / parameter.shape[0]) ** 0.5
            if gain < least:
                parameter.mul_(least / max(gain, 1e-3))


def _draw_vectors(module: nn.Module) -> None:
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.ndim > 1 or not parameter.is_floating_point():
                continue
            if name == "weight" and _is_norm(layer):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif isinstance(layer, nn.PReLU):
                parameter.copy_(0.25 + 0.1 * torch.randn_like(parameter).abs())
            elif "bias" in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
            elif parameter.numel() > 1:  # layer scale and the like, which start near zero
                parameter.copy_(parameter + 0.3 * torch.rand_like(parameter) + 0.1)


def _is_norm(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm) or any(word in type(layer).__name__.lower() for word in NORM_WORDS)


def _fit_statistics(module: nn.Module, inputs: Inputs) -> None:
    """One pass in which batch norms see the example, then some noise, so that they do not exactly cancel."""
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.train()
        layer.momentum = 0.9
    if norms:
        module(*inputs.values())
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.eval()
        layer.momentum = momentum
        spread = layer.running_var.clamp_min(1e-3)
        layer.running_mean.add_(0.1 * spread.sqrt() * torch.randn_like(spread))
        layer.running_var.copy_(spread * (0.8 + 0.4 * torch.rand_like(spread)))
