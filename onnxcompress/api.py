"""The three commands as functions, and the recipes behind them. The command line adds nothing to this.

result = onnxcompress.prune("model.onnx", data="calib.npz", target_macs="0.5x")
result.save("pruned.onnx")
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from onnxcompress.data_options import DataOptions
from onnxcompress.distillation_recipe import distill_entries
from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Scope
from onnxcompress.pruning_recipe import SIZE_OPTIONS, Entries, prune_entries
from onnxcompress.quantization_recipe import quantize_entries
from onnxcompress.recipe import Recipe
from onnxcompress.registry import make_pass

if TYPE_CHECKING:
    from onnxcompress.result import Result
    from onnxcompress.several import Results
    from onnxcompress.targets import Target

COMMANDS = ("prune", "quantize", "distill", "reconstruct", "auto")


def recipe_for(
    command: str,
    options: Mapping[str, Any] | None = None,
    *,
    has_data: bool,
    has_teacher: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe that a command stands for.

    Args:
        command: ``prune``, ``quantize``, ``distill``, ``reconstruct`` or ``auto``.
        options: Options of the command's main pass by field name; for ``auto``, of any pass as ``pass.option``.
        has_data: Whether samples will be there.
        has_teacher: Whether a teacher will be there; ``distill`` and ``reconstruct`` ask for one.
        settings: Settings of the run, kept in the recipe.

    Raises:
        UsageError: For an unknown command or option.
    """
    given = {k: v for k, v in (options or {}).items() if v is not None}
    builders = {
        "prune": prune_entries,
        "quantize": quantize_entries,
        "distill": distill_entries,
        "reconstruct": _reconstruct,
        "auto": _auto,
    }
    if command not in builders:
        raise UsageError(f"unknown command {command!r}", hint=f"Use one of: {', '.join(COMMANDS)}.")
    if command in ("distill", "reconstruct") and not has_teacher and not given.get("self_compress"):
        _refuse_without_teacher(command)
    entries = builders[command](given, has_data)
    notes = (_NO_TORCH,) if command == "auto" and "distill" not in dict(entries) else ()
    return Recipe(tuple(make_pass(name, values) for name, values in entries), dict(settings or {}), notes)


def _refuse_without_teacher(command: str) -> None:
    raise UsageError(
        f"{command} needs a teacher",
        why="a student learns by imitating another model",
        hint="Give --teacher MODEL (usually the model before pruning or quantization) and --data FILE.",
        code="USAGE-NO-TEACHER",
    )


def _reconstruct(given: dict[str, Any], has_data: bool) -> Entries:
    if not has_data:
        raise UsageError(
            "reconstruct needs samples",
            why="weights are fitted to what the teacher computes on data, labels are not needed",
            hint="Give --data FILE (a few hundred samples) and --teacher MODEL (the model before compression).",
            code="USAGE-NO-DATA",
        )
    return [("reconstruct", given)]


def _auto(given: dict[str, Any], has_data: bool) -> Entries:
    if not has_data:
        raise UsageError(
            "run auto needs samples",
            why="it repairs what it prunes and calibrates what it quantizes on them",
            hint="Give --data FILE; or use prune and quantize, which work with the model alone.",
            code="USAGE-NO-DATA",
        )
    distill: Entries = [("distill", {})] if importlib.util.find_spec("torch") else []
    entries: Entries = [
        ("normalize", {}),
        ("fold-batchnorm", {}),
        ("prune-channels", {"target_macs": "0.6x", "allow_miss": True}),
        ("reconstruct", {}),
        *distill,
        ("insert-qdq", {}),
    ]
    return override(entries, given)


def override(entries: Entries, given: Mapping[str, Any]) -> Entries:
    """`entries` with options replaced: keys are ``pass.option``, a new size option replaces the old one.

    Raises:
        UsageError: Where a key names a pass that is not there.
    """
    by_name = dict(entries)
    for key, value in given.items():
        name, _, option = key.rpartition(".")
        if name not in by_name:
            raise UsageError(
                f"--set {key} names no pass of this recipe",
                hint=f"Write PASS.OPTION=VALUE with one of: {', '.join(by_name)}.",
                code="USAGE-UNKNOWN-OPTION",
            )
        clash = [k for k in by_name[name] if k in SIZE_OPTIONS] if option in SIZE_OPTIONS else []
        for old in clash:
            del by_name[name][old]
        if clash:
            by_name[name].pop("allow_miss", None)
        by_name[name][option] = value
    return entries


def run_recipe(recipe: Recipe, model: Any, *, data: DataOptions | Any = None, **common: Any) -> Result:
    """Run a recipe on a model.

    Args:
        recipe: Passes and settings.
        model: A path, an onnx.ModelProto or an onnx_ir.Model.
        data: `DataOptions`, or anything that `onnxcompress.data.open_data` takes.
        common: Keyword arguments of `PassManager.run` (eval_data, teacher, shapes, scope, runtime, metric, executor,
            memory_bytes, statistics, strict, progress, seed), and of `PassManager`
            (target, max_drop, min_sqnr, verify, allow_unchanged, on_record); those given here
            win over the settings of the recipe. ``latency=True`` also times both models;
            ``cache=FOLDER`` keeps calibration histograms there, for runs with another calibrator or target;
            ``only`` and ``exclude``, lists of node patterns, are another way to give ``scope``.
    """
    from onnxcompress.calibrators.store import Statistics
    from onnxcompress.manager import PassManager
    from onnxcompress.model_io import load

    merged = {**recipe.settings, **{k: v for k, v in common.items() if v is not None}}
    manager = PassManager(recipe.passes, **{k: merged.pop(k) for k in _MANAGER_KEYS if k in merged})
    timed = merged.pop("latency", False)
    only, exclude = (_patterns(merged.pop(key, ())) for key in ("only", "exclude"))
    merged.setdefault("scope", Scope(only, exclude))
    merged.setdefault("statistics", Statistics.kept_in(merged.pop("cache", None), merged.get("executor")))
    loaded = load(model)
    if isinstance(data, DataOptions):
        data, evaluation = data.open(loaded, seed=merged.get("seed", 0))
        merged.setdefault("eval_data", evaluation)
    result = manager.run(loaded, data=data, **merged)
    result.report.notes += recipe.notes
    if timed:
        from onnxcompress.comparing import measure_latency

        result.report.latency = measure_latency(
            loaded, result.model, shapes=result.shapes, runtime=merged.get("runtime")
        )
        if not manager.target.name.startswith("ort"):
            result.report.notes.append(f"times are ONNX Runtime's here; they say nothing of {manager.target.name}")
    return result


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def prune(model: Any, *, data: Any = None, **options: Any) -> Result:
    """Remove channels, filters, neurons and hidden units, or set single weights to zero; repair on `data` if given.

    Args:
        model: A path, an onnx.ModelProto or an onnx_ir.Model; it is not edited.
        data: Unlabelled samples for the repair; labels, where present, measure accuracy.
        options: Options of the ``prune-channels`` and ``prune-weights`` passes (``weights="2:4"`` alone leaves the
            channels as they are), and common ones of `run_recipe`.
    """
    return _command("prune", model, data, options)


@overload
def quantize(model: Any, *, data: Any = None, target: list[str] | tuple[str, ...], **options: Any) -> Results: ...
@overload
def quantize(model: Any, *, data: Any = None, target: str | Target | None = None, **options: Any) -> Result: ...
def quantize(model: Any, *, data: Any = None, target: Any = None, **options: Any) -> Result | Results:
    """Insert Q/DQ nodes calibrated on `data`; without data, store the weights as int8 only.

    Args:
        model: A path, an onnx.ModelProto or an onnx_ir.Model; it is not edited.
        data: Unlabelled calibration samples.
        target: Deployment target; a list of names gives `Results`, one for each from the same calibration.
        options: Options of ``insert-qdq`` (or ``quantize-weights``), ``requantize=True`` for a model that is quantized
            already, and common ones of `run_recipe`.
    """
    if isinstance(target, (list, tuple)):
        from onnxcompress.several import run_recipe_for

        common, recipe = _prepared("quantize", data, options)
        return run_recipe_for(target, recipe, model, data=data, **common)
    return _command("quantize", model, data, {**options, "target": target})


def distill(student: Any, *, teacher: Any = None, data: Any, **options: Any) -> Result:
    """Train `student` to imitate `teacher` on `data`; the same graph comes back with new weights. Needs torch.

    Args:
        student: The model to train.
        teacher: The model to imitate; with ``self_compress=True`` the student itself by default.
        data: Unlabelled samples.
        options: Options of the ``distill`` pass, and common ones of `run_recipe`. ``self_compress=True`` with
            ``target_macs="0.4x"`` trains and prunes in turns; options are then those of ``self-compress``.
    """
    return _command("distill", student, data, {**options, "teacher": teacher})


def reconstruct(student: Any, *, teacher: Any, data: Any, **options: Any) -> Result:
    """Refit the weights of `student`, whichever tool cut it, to `teacher` on `data` in closed form; no training.

    Args:
        student: The model to repair.
        teacher: The model that it was made from.
        data: Unlabelled samples.
        options: Options of the ``reconstruct`` pass, and common ones of `run_recipe`.
    """
    return _command("reconstruct", student, data, {**options, "teacher": teacher})


def auto(model: Any, *, data: Any, **options: Any) -> Result:
    """Prune, reconstruct, distill where torch is installed, and quantize, with the input as teacher."""
    return _command("auto", model, data, options)


_NO_TORCH = 'auto left out `distill`: PyTorch is not installed (pip install "onnxcompress[distill]")'
_MANAGER_KEYS = ("target", "max_drop", "min_sqnr", "verify", "allow_unchanged", "on_record")

_COMMON = (
    *_MANAGER_KEYS, "eval_data", "teacher", "shapes", "scope", "runtime", "metric", "executor", "memory_bytes",
    "cache", "strict", "progress", "seed", "latency", "only", "exclude",
)  # fmt: skip


def _command(command: str, model: Any, data: Any, options: dict[str, Any]) -> Result:
    common, recipe = _prepared(command, data, options)
    return run_recipe(recipe, model, data=data, **common)


def _prepared(command: str, data: Any, options: Mapping[str, Any]) -> tuple[dict[str, Any], Recipe]:
    """The options that are not the passes' own, and the recipe with those that are."""
    common = {k: v for k, v in options.items() if k in _COMMON}
    own = {k: v for k, v in options.items() if k not in _COMMON}
    has_data = data.spec is not None if isinstance(data, DataOptions) else data is not None
    has_teacher = "teacher" not in options or options["teacher"] is not None
    return common, recipe_for(command, own, has_data=has_data, has_teacher=has_teacher)
