"""What ``prune --explain`` shows: all groups of a model, found out without changing or writing anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Context, Effect, Scope
from onnxcompress.recipe import Recipe
from onnxcompress.runtime_options import RuntimeOptions

if TYPE_CHECKING:
    from onnxcompress.api import DataOptions
    from onnxcompress.report.explanation import Explanation


def explain_recipe(
    recipe: Recipe,
    model: Any,
    *,
    data: DataOptions,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    runtime: RuntimeOptions | None = None,
) -> Explanation:
    """What the recipe's ``prune-channels`` would find in `model` and cut from it.

    Args:
        recipe: Exact passes before that pass are run on a copy, others are not.
        model: A path, an onnx.ModelProto or an onnx_ir.Model; it is not edited.
        data: Samples, for scores that need them.
        shapes: Sizes of dynamic inputs, by input name.
        runtime: Providers, threads, custom operators.

    Raises:
        UsageError: Where the recipe cuts no channels.
    """
    from onnx_ir.passes.common import InlinePass

    from onnxcompress.graph import clone, select_nodes
    from onnxcompress.model_io import load
    from onnxcompress.passes.prune_channels import PruneChannels
    from onnxcompress.passes.pruning.explain import explain
    from onnxcompress.targets import load_target

    at = next((i for i, p in enumerate(recipe.passes) if isinstance(p, PruneChannels)), None)
    if at is None:
        hint = "Give --ratio or a target, or leave out what prunes blocks or weights."
        raise UsageError(
            "there is nothing to explain", why="no channels are to be cut", hint=hint, code="USAGE-EXPLAIN"
        )
    settings, loaded = recipe.settings, load(model)
    samples, _ = data.open(loaded, seed=settings.get("seed", 0))
    scope = Scope(tuple(settings.get("only", ())), tuple(settings.get("exclude", ())))
    select_nodes(loaded, (*scope.only, *scope.exclude))  # refuses a pattern without a match
    ctx = Context(
        original=loaded,
        teacher=loaded,
        target=load_target(settings.get("target", "ort-cpu")),
        data=samples,
        shapes=dict(shapes or {}),
        scope=scope,
        runtime=runtime or RuntimeOptions(),
        seed=settings.get("seed", 0),
    )
    working = clone(loaded)
    for pass_ in recipe.passes[:at]:
        if pass_.effect is Effect.EXACT:
            list(pass_.run(working, ctx))
    InlinePass()(working)
    pruning = recipe.passes[at]
    assert isinstance(pruning, PruneChannels)
    return explain(working, ctx, pruning)
