"""What a prune could cut and what it could not, and why: the data behind ``prune --explain``, and how it reads."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from onnxcompress.report.units import percent_of

SCHEMA = "onnxcompress.prune-explanation/1"
_SHOWN, _WIDTH, _NAME = 4, 80, 33
_FREE = "{:<33}{:>9}{:>7}{:>7}{:>7}{:>17}"


@dataclass(frozen=True)
class FreeGroup:
    """Channels that are decided on together.

    Attributes:
        name: The first node that makes them.
        producers: Nodes that make them.
        consumers: Linear nodes that read them.
        tensors: Activations that carry them.
        channels: How many there are.
        removed: How many would go.
        macs_share: Fraction of the model's multiply-accumulates that shrinks with them.
        params_share: Fraction of its parameters.
        importance: Least, median and largest importance of one step, comparable between groups.
    """

    name: str
    producers: list[str]
    consumers: list[str]
    tensors: list[str]
    channels: int
    removed: int
    macs_share: float
    params_share: float
    importance: tuple[float, float, float]


@dataclass(frozen=True)
class HeldLayer:
    """A layer of which channels must stay.

    Attributes:
        name: The node that makes them.
        channels: How many it makes.
        held: How many of them must stay.
        code: Stable reason code.
        at: Node that holds them.
        axis: Where they lie at that node, e.g. ``axis 1 of x``; empty where it is not known.
        why: A clause.
        option: What would free them; empty where nothing does.
    """

    name: str
    channels: int
    held: int
    code: str
    at: str
    axis: str
    why: str
    option: str


@dataclass(frozen=True)
class Explanation:
    """All groups of a model.

    Attributes:
        channels: Channels that the model's layers make, each once.
        frozen: How many of them must stay, by reason code, most frequent first.
        groups: What may be cut, in the model's order.
        held: Layers with channels that must stay, in the model's order.
        reached: What the cut would leave, in a sentence.
    """

    channels: int
    frozen: dict[str, int]
    groups: list[FreeGroup]
    held: list[HeldLayer]
    reached: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, with the schema's name."""
        return {"schema": SCHEMA, **asdict(self)}

    def summary(self) -> str:
        """One line: how much is free, and what holds the rest."""
        stay = sum(self.frozen.values())
        reasons = ", ".join(f"{count:,} {code}" for code, count in self.frozen.items())
        told = f"; {stay:,} must stay: {reasons}" if stay else ""
        return f"{self.channels - stay:,} of {self.channels:,} channels are free{told}"


def to_text(found: Explanation) -> str:
    """For a person: plain text, no line longer than 80 columns."""
    lines: list[str] = []
    if found.groups:
        lines += [_FREE.format("may be cut", "channels", "cut", "MACs", "params", "importance"), "-" * _WIDTH]
        lines += [line for group in found.groups for line in _free(group)] + [""]
    if found.held:
        lines += [f"{'must stay':<{_NAME}}{'channels':>10}", "-" * _WIDTH]
        lines += [line for layer in found.held for line in _held(layer)] + [""]
    return "\n".join([*lines, *_wrapped(found.summary(), 0), *_wrapped(found.reached, 0)]) + "\n"


def _free(group: FreeGroup) -> list[str]:
    shares = (percent_of(group.macs_share), percent_of(group.params_share))
    spread = " ".join(f"{value:.1g}" for value in group.importance)
    figures = _FREE.format("", f"{group.channels:,}", f"{group.removed:,}", *shares, spread)
    also = [name for name in group.producers if name != group.name]
    lines = _named(group.name, figures)
    lines += _wrapped(f"also made by {_listed(also)}", 2) if also else []
    return lines + (_wrapped(f"read by {_listed(group.consumers)}", 2) if group.consumers else [])


def _held(layer: HeldLayer) -> list[str]:
    count = f"{layer.held:,}" if layer.held == layer.channels else f"{layer.held:,} of {layer.channels:,}"
    where = f" at {layer.at}" if layer.at and layer.at != layer.name else ""
    axis = f" ({layer.axis})" if layer.axis and "axis" not in layer.why else ""
    lines = _named(layer.name, f"{'':<{_NAME}}{count:>10}")
    lines += _wrapped(f"{layer.code}: {layer.why}{where}{axis}", 2)
    told = not layer.option or layer.option in layer.why
    return lines + ([] if told else _wrapped(f"to free it: {layer.option}", 2))


def _named(name: str, figures: str) -> list[str]:
    """A long name takes a line of its own."""
    return [f"{name:<{_NAME}}{figures[_NAME:]}"] if len(name) < _NAME else [*_wrapped(name, 0), figures]


def _wrapped(text: str, indent: int) -> list[str]:
    first, rest = " " * indent, " " * 2 * indent
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
