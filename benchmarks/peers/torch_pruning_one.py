"""Prune one network of the zoo by Torch-Pruning and print what came of it as JSON. Runs in the zoo's environment.

    PYTHONPATH=tests:benchmarks/zoo python benchmarks/peers/torch_pruning_one.py NAME RATIO

Group L2 importance, the same fraction everywhere, the layers that make an output left alone: how its readme uses it.
"""

from __future__ import annotations

import copy
import json
import sys
import time
import warnings
from typing import Any

import torch
import torch_pruning
from builders.torch_export import Net, built
from builders.torch_sequence_nets import sequence_nets
from builders.torch_vision_nets import vision_nets
from cnns import cnns
from found import distance, only_kept
from torch import nn
from transformer_nets import transformer_nets

NEVER_ZERO = ("running_var", "num_batches")


def main() -> None:
    name, ratio = sys.argv[1], float(sys.argv[2])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    net = next(net for net in (*vision_nets(), *sequence_nets(), *transformer_nets(), *cnns()) if net.name == name)
    try:
        row = _pruned(net, ratio)
    except BaseException as error:  # noqa: BLE001  whatever a peer throws is a row of the table
        row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    print(json.dumps(row))


def _pruned(net: Net, ratio: float) -> dict[str, Any]:
    module, inputs = built(net)
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad=True)
    original = copy.deepcopy(module)
    example = tuple(inputs.values())
    start = time.perf_counter()
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    pruner = torch_pruning.pruner.BasePruner(
        module, example if len(example) > 1 else example[0], importance=importance, pruning_ratio=ratio,
        ignored_layers=_last_layers(module, example),
    )  # fmt: skip
    pruner.step()
    seconds = time.perf_counter() - start
    return {"s": round(seconds, 2), "kept": _size(module) / _size(original), "error": _error(original, module, example)}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _last_layers(module: nn.Module, example: tuple[torch.Tensor, ...]) -> list[nn.Module]:
    """Linear layers and convolutions whose channels are an axis of an output as they are."""
    sizes = {tensor.shape for tensor in _tensors(module(*example))}
    made: list[tuple[nn.Module, Any]] = []
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    hooks = [layer.register_forward_hook(lambda m, _, out: made.append((m, out))) for layer in layers]
    outputs = _tensors(module(*example))
    for hook in hooks:
        hook.remove()
    starts = {tensor.data_ptr() for tensor in outputs}
    direct = [m for m, out in made if torch.is_tensor(out) and (out.data_ptr() in starts or out.shape in sizes)]
    return direct or [made[-1][0]]


def _tensors(output: Any) -> list[torch.Tensor]:
    if torch.is_tensor(output):
        return [output]
    return [t for part in output for t in _tensors(part)] if isinstance(output, list | tuple) else []


def _error(original: nn.Module, pruned: nn.Module, example: tuple[torch.Tensor, ...]) -> float:
    left = dict(pruned.state_dict())
    state = original.state_dict()
    for name, tensor in state.items():
        after = left.get(name)
        if after is not None and after.shape != tensor.shape and not any(word in name for word in NEVER_ZERO):
            state[name] = torch.from_numpy(only_kept(tensor.numpy(), after.numpy()))
    original.load_state_dict(state)
    with torch.no_grad():
        wanted, got = _tensors(original(*example)), _tensors(pruned(*example))
    return max(distance(a.numpy(), b.numpy()) for a, b in zip(wanted, got, strict=True) if a.is_floating_point())


if __name__ == "__main__":
    main()
