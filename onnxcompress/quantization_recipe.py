"""The passes that the command ``quantize`` stands for.

With samples the model computes in integers (``insert-qdq``); without, only its weights become integers
(``quantize-weights``), and so with ``--activations none``. ``dynamic`` finds ranges at every inference and needs no
samples (``quantize-dynamic``).
``requantize`` makes a quantized model float first. ``float16``, or an option of ``convert-float``, means float16 or
bfloat16.
"""

from __future__ import annotations

from typing import Any

from onnxcompress.errors import UsageError
from onnxcompress.pruning_recipe import Entries
from onnxcompress.registry import describe


def quantize_entries(given: dict[str, Any], has_data: bool) -> Entries:
    """Passes with their options.

    Args:
        given: Options of the passes by name, ``dynamic`` and ``requantize``.
        has_data: Whether samples will be there.

    Raises:
        UsageError: Where an option belongs to the pass that does not run.
    """
    options = {key: value for key, value in given.items() if key not in ("requantize", "dynamic", "float16")}
    first: Entries = [("remove-qdq", {})] if given.get("requantize") else []
    first += [("normalize", {}), ("fold-batchnorm", {})]
    floats = {option.name for option in describe("convert-float").options}
    if given.get("dynamic") and (given.get("float16") or floats & options.keys()):
        raise UsageError(
            "--float16 and --dynamic exclude each other",
            why="float16 and bfloat16 have no ranges, and --dynamic finds them at every inference",
            hint="Leave out one of the two.",
            code="USAGE-CONTRADICTION",
        )
    if given.get("float16") or floats & options.keys():
        return [*first, ("convert-float", _only_floats(options, floats))]
    if given.get("dynamic"):
        return [*first, ("quantize-dynamic", _dynamic(options, has_data))]
    if options.get("activations") == "none":
        del options["activations"]
        return [*first, ("quantize-weights", _weights_alone(options))]
    main, other = ("insert-qdq", "quantize-weights") if has_data else ("quantize-weights", "insert-qdq")
    _refuse_options_of(other, main, options, has_data)
    return [*first, (main, options)]


def _weights_alone(options: dict[str, Any]) -> dict[str, Any]:
    """The options, none of which may be about activations."""
    known = {option.name for option in describe("quantize-weights").options}
    for key in sorted(options.keys() - known):
        raise UsageError(
            f"--{key.replace('_', '-')} does not go with --activations none",
            why="activations stay float, so that no range is chosen for them",
            hint=f"Leave out --{key.replace('_', '-')}, or --activations none.",
            code="USAGE-UNKNOWN-OPTION",
        )
    return options


def _only_floats(options: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """The options, none of which may be the integer passes'."""
    for key in sorted(options.keys() - known):
        raise UsageError(
            f"--{key.replace('_', '-')} does not go with --float16",
            why="float16 and bfloat16 have neither scales nor ranges",
            hint="Leave out one of the two.",
            code="USAGE-UNKNOWN-OPTION",
        )
    return options


def _dynamic(options: dict[str, Any], has_data: bool) -> dict[str, Any]:
    """The options, all of which must be the dynamic pass's own; samples may be there, to measure with."""
    known = {option.name for option in describe("quantize-dynamic").options}
    for key in sorted(options.keys() - known):
        raise UsageError(
            f"--{key.replace('_', '-')} does not go with --dynamic",
            why="ranges are found at every inference, so that nothing is calibrated",
            hint="Leave out --dynamic." if has_data else "Leave it out; or give --data FILE in place of --dynamic.",
            code="USAGE-UNKNOWN-OPTION",
        )
    return options


def _refuse_options_of(other: str, main: str, given: dict[str, Any], has_data: bool) -> None:
    known, elsewhere = ({option.name for option in describe(name).options} for name in (main, other))
    for key in given:
        if key in elsewhere - known:
            raise UsageError(
                f"--{key.replace('_', '-')} is an option of {other}",
                why="quantize stores weights only where no data is given, and calibrates where some is",
                hint=f"Leave out --data, or use `run {other}`." if has_data else "Give --data FILE.",
                code="USAGE-UNKNOWN-OPTION",
            )
