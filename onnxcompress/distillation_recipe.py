"""The passes that the command ``distill`` stands for: training alone, or training and pruning in turns."""

from __future__ import annotations

from typing import Any

from onnxcompress.errors import UsageError
from onnxcompress.pruning_recipe import Entries
from onnxcompress.registry import describe


def distill_entries(given: dict[str, Any], has_data: bool) -> Entries:
    """Passes with their options.

    Args:
        given: Options of ``distill``; with a true ``self_compress``, of ``self-compress``.
        has_data: Whether samples will be there.

    Raises:
        UsageError: Without samples, or where an option belongs to the other way of training.
    """
    if not has_data:
        raise UsageError(
            "distill needs samples",
            why="a student learns by imitating its teacher on data, labels are not needed",
            hint="Give --data FILE (a few hundred samples) and --teacher MODEL (the model before compression).",
            code="USAGE-NO-DATA",
        )
    options = {key: value for key, value in given.items() if key != "self_compress"}
    if not given.get("self_compress"):
        _refuse_foreign(options, "distill", "self-compress", "Add --self-compress, or leave it out.")
        return [("distill", options)]
    hint = "Leave it out; --stage-steps and --budget say how long, and `run` takes a recipe of prune and distill."
    _refuse_foreign(options, "self-compress", "distill", hint)
    return [("normalize", {}), ("self-compress", options)]


def _refuse_foreign(given: dict[str, Any], mine: str, other: str, hint: str) -> None:
    own, theirs = ({option.name: option.flag for option in describe(name).options} for name in (mine, other))
    for name in given:
        if name in theirs and name not in own:
            what = f"{theirs[name]} is an option of {other}"
            raise UsageError(what, why=f"this run is a {mine}", hint=hint, code="USAGE-SELF-COMPRESS-OPTION")
