"""What a run gives back: the model, its report, and the recipe that made it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxcompress import model_io
from onnxcompress.recipe import Recipe, dump_recipe

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxcompress.report import Report


@dataclass(frozen=True)
class Result:
    """A compressed model and the account of how it came about.

    Attributes:
        model: The compressed model.
        report: Costs, quality and findings.
        recipe: The passes and settings that were run.
        shapes: Sizes of dynamic inputs that costs and placement hold for, given or taken from the samples; -1 is free.
    """

    model: ir.Model = field(repr=False)
    report: Report = field(repr=False)
    recipe: Recipe
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return str(self.report)

    def proto(self) -> onnx.ModelProto:
        """The model as a protobuf message.

        Raises:
            ResourceError: Where it is larger than the 2 GB that protobuf allows; use `save` then.
        """
        return model_io.to_proto(self.model)

    def save(self, path: str | os.PathLike[str], *, force: bool = False, stamp: bool = True) -> Path:
        """Write the model, whole or not at all; of several processes under torchrun, process 0 does.

        Args:
            path: Target file.
            force: Replace an existing file.
            stamp: Put recipe, tool version and the input's fingerprint into the model's metadata.

        Returns:
            The absolute path written.

        Raises:
            UsageError: Where the file exists and `force` is not set.
            ResourceError: Where the folder cannot be written or is full.
        """
        if int(os.environ.get("RANK", "0")):
            return Path(path).absolute()
        if stamp:
            parent = self.report.fingerprints.get("input", "")
            recipe = replace(self.recipe, passes=tuple(p.portable() for p in self.recipe.passes))
            model_io.stamp(self.model, recipe=dump_recipe(recipe), parent=parent)
        return model_io.save(self.model, path, force=force)
