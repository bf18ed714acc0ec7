"""What is recorded: a torch.fx graph with the tensors that it holds, and the values that stand on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.proxy import GraphAppendingTracer

from onnxcompress.distill.fusing import LIFTED, SIZES, TYPE, fuse


@dataclass
class Slot:
    """One value during the walk.

    Attributes:
        shape: Its sizes.
        dtype: Its torch type.
        example: Its numbers for the example batch; dropped after the last use.
        proxy: Its recorded form; None where it is known.
        constant: True where no sample and no weight enters it.
        loose: True where the samples decide its sizes, which are then those of the example only.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    example: torch.Tensor | None
    proxy: Any
    constant: bool
    loose: bool = False


class Tape:
    """A torch.fx graph that grows."""

    def __init__(self) -> None:
        self._graph = torch.fx.Graph()
        self._tracer = GraphAppendingTracer(self._graph)
        self._attributes: dict[str, torch.Tensor] = {}

    def placeholder(self, name: str) -> Any:
        """An input."""
        return torch.fx.Proxy(self._graph.placeholder(name), self._tracer)

    def attribute(self, name: str, tensor: torch.Tensor) -> Any:
        """A tensor that the module holds under `name`."""
        self._attributes[name] = tensor
        return self._tracer.create_proxy("get_attr", name, (), {})

    def lift(self, tensor: torch.Tensor) -> Any:
        """A tensor that the module holds, under a name of its own."""
        return self.attribute(f"{LIFTED}{len(self._attributes)}", tensor)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """One step."""
        return self._tracer.create_proxy("call_function", function, arguments, {})

    def proxy(self, slot: Slot) -> Any:
        """The recorded form of a value; what is known is lifted."""
        if slot.proxy is None and slot.example is not None:
            return self.lift(slot.example)
        return slot.proxy

    def known(self, example: torch.Tensor) -> Slot:
        """A value that neither sample nor weight enters."""
        return Slot(tuple(example.shape), example.dtype, example, None, True)

    def slot(self, example: torch.Tensor, proxy: Any) -> Slot:
        """A value that is recorded."""
        proxy.node.meta |= {SIZES: tuple(example.shape), TYPE: example.dtype}
        return Slot(tuple(example.shape), example.dtype, example, proxy, False)

    def finish(self, outputs: Mapping[str, Slot]) -> torch.fx.GraphModule:
        """Close the graph with a dict of the named values."""
        self._graph.output({name: self.proxy(slot).node for name, slot in outputs.items()})
        fuse(self._graph, self._attributes)
        self._graph.eliminate_dead_code()
        self._graph.lint()
        used = {n.target for n in self._graph.nodes if n.op == "get_attr"}
        return torch.fx.GraphModule({k: v for k, v in self._attributes.items() if k in used}, self._graph)
