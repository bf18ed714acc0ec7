"""A step of training by hand, and the checks around it that every form of model has to pass."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress import model_io
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.runtime import Session

Feeds = dict[str, np.ndarray]


def gradient(tensor: torch.Tensor) -> torch.Tensor:
    """The gradient, which is there."""
    assert tensor.grad is not None
    return tensor.grad


def equal(bridge: Bridge, made: ir.Model, feeds: Feeds, atol: float = 1e-5) -> dict[str, torch.Tensor]:
    """Outputs of the bridge, which are those of ONNX Runtime for `made`."""
    found = bridge.specialise(feeds).run(feeds)
    for name, wanted in Session(made, optimize=False).run(feeds).items():
        np.testing.assert_allclose(found[name].detach(), wanted, rtol=1e-4, atol=atol, err_msg=name)
    return found


def untrained(made: ir.Model, *, scales: bool = False) -> Bridge:
    """A bridge, after a write-back that changed no byte."""
    bridge, before = Bridge(made, scales=scales), model_io.to_bytes(made)
    assert write_back(made, bridge, snapshot(bridge)) == []
    assert model_io.to_bytes(made) == before
    return bridge


def trained(made: ir.Model, feeds: Feeds, *, step: float = 0.01, scales: bool = False, atol: float = 1e-5) -> set[str]:
    """Every weight takes a step against its gradient, scales shrink, and ONNX Runtime gives what was trained.

    Returns:
        Names of the constants that changed.
    """
    bridge = untrained(made, scales=scales)
    start = snapshot(bridge)
    outputs = equal(bridge, made, feeds, atol).values()
    torch.stack([t.square().sum() for t in outputs if t.requires_grad]).sum().backward()
    with torch.no_grad():
        for weight, parameter in bridge.trainable():
            if weight.role == "scale":  # its gradient is 0 as long as every weight is on its grid
                parameter -= step
            elif parameter.grad is not None:
                parameter -= step * parameter.grad.sign()
    changed = write_back(made, bridge, start)
    equal(bridge, made, feeds, atol)
    assert write_back(made, bridge, snapshot(bridge)) == []
    return set(changed)
