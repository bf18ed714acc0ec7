"""Write into a model where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def stamp(model: ir.Model, *, recipe: str, parent: str) -> None:
    """Note version, recipe and parent in the model's ``metadata_props``, in place and without a time.

    Args:
        model: The model that is about to be saved.
        recipe: The recipe's text, enough to repeat the run.
        parent: Fingerprint of the model that the recipe was run on, hexadecimal.
    """
    from onnxcompress import __version__

    model.metadata_props["onnxcompress.version"] = __version__
    model.metadata_props["onnxcompress.recipe"] = recipe
    model.metadata_props["onnxcompress.parent"] = parent
