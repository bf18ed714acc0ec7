"""The passes that the command ``prune`` stands for: blocks, channels, single weights, or several of them.

Channels are cut where an amount of them is given, and where no amount of anything is; weights become zero where one of
`WEIGHT_OPTIONS` is given. Zeros come last, as a refit of the weights would fill them again, and after
BatchNormalization was folded: so weights are compared by what they do, and convolutions have a bias to move.
"""

from __future__ import annotations

from typing import Any

from onnxcompress.errors import UsageError
from onnxcompress.registry import describe

Entries = list[tuple[str, dict[str, Any]]]

SIZE_OPTIONS = (
    "ratio",
    "target_macs",
    "target_params",
    "target_latency",
    "filter_ratio",
    "channel_ratio",
    "neuron_ratio",
    "layer",
    "plan",
)
WEIGHT_OPTIONS = ("weights", "sparsity", "threshold", "cut")


def prune_entries(given: dict[str, Any], has_data: bool) -> Entries:
    """Passes with their options.

    Args:
        given: Options of the passes by name.
        has_data: Whether samples will be there; without, less is removed by default.

    Raises:
        UsageError: Where an option belongs to what is not asked for.
    """
    depth, given = _split("prune-blocks", given)
    shorter: Entries = [("prune-blocks", depth)] if depth.get("blocks") else []
    if not any(key in given for key in WEIGHT_OPTIONS):
        return [("normalize", {}), *_structure(shorter, given, has_data)]
    zeros, rest = _split("prune-weights", given)
    _check_mixture(zeros, rest)
    first = _structure(shorter, rest, has_data) if shorter or rest else []
    return [("normalize", {}), *first, ("fold-batchnorm", {}), ("prune-weights", zeros)]


def _structure(shorter: Entries, given: dict[str, Any], has_data: bool) -> Entries:
    """Blocks, channels, and the repair of what is left; channels by default where no amount of anything is given."""
    if not _sized(given) and not shorter:
        # A default that nobody asked for is no reason to fail.
        given = {**given, "target_macs": "0.5x" if has_data else "0.9x", "allow_miss": True}
    # An option of channels beside blocks, without an amount, is refused by the pass: it was not told how much.
    narrower: Entries = [("prune-channels", given)] if given else []
    return [*shorter, *narrower, ("reconstruct", {})]


def _split(name: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that belong to the pass `name`, and the others."""
    own = {option.name for option in describe(name).options}
    mine = {key: value for key, value in given.items() if key in own}
    return mine, {key: value for key, value in given.items() if key not in own}


def _sized(given: dict[str, Any]) -> list[str]:
    return [key for key in SIZE_OPTIONS if given.get(key) not in (None, (), "")]


def _check_mixture(zeros: dict[str, Any], rest: dict[str, Any]) -> None:
    """Refuse a layer table that could mean either, and options of channels where no channels are to go."""
    if _sized(rest) and zeros.get("layer"):
        why = f"it could mean channels (--{_flag(_sized(rest)[0])}) or weights, and both are asked for"
        hint = "Prune in two runs, or write a recipe with a layer table for each pass (see --dry-run)."
        raise UsageError("--layer is ambiguous here", why=why, hint=hint, code="USAGE-PRUNE-LAYER")
    if rest and not _sized(rest):
        why = "weights are pruned, and channels only where an amount of them is given"
        hint = "Leave it out, or add --ratio, --target-macs or another amount."
        raise UsageError(f"--{_flag(next(iter(rest)))} is about channels", why=why, hint=hint, code="USAGE-PRUNE-MIXED")


def _flag(name: str) -> str:
    return name.replace("_", "-")
