"""What a run works on: its samples, and the sizes of axes that the model leaves free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxcompress.data import DataSource, canonical, open_data
from onnxcompress.passes.base import Effect, Pass
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import sampled_shapes

if TYPE_CHECKING:
    import onnx_ir as ir


def open_samples(data: Any, eval_data: Any, model: ir.Model, seed: int) -> tuple[DataSource | None, DataSource | None]:
    """Samples for the passes and samples that only measure, each None where there are none.

    Args:
        data: Anything that `onnxcompress.data.open_data` takes, or None.
        eval_data: The same; without it a fifth of `data` is held out.
        model: The model that they are for.
        seed: Of the choice of the held-out ones.

    Raises:
        DataError: Where they do not fit the model.
    """
    measuring = None if eval_data is None else open_data(eval_data, model)
    if data is None:
        return None, measuring
    samples = canonical(open_data(data, model))  # a permuted file gives the same bytes
    if measuring is not None:
        return samples, measuring
    return samples.split(0.2, seed=seed) if len(samples) > 1 else (samples, None)


def settled_shapes(
    passes: Sequence[Pass], model: ir.Model, samples: DataSource | None, options: RuntimeOptions
) -> dict[str, tuple[int, ...]]:
    """Shapes of dynamic inputs as the first sample has them, where all lossy passes go by that; else none."""
    lossy = [p for p in passes if p.effect is Effect.LOSSY]
    if not samples or not lossy or not all(p.at_sample_sizes for p in lossy):
        return {}
    return sampled_shapes(model, samples, options=options)
