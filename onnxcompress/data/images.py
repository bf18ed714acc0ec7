"""A folder of pictures: decoded, resized and cropped one by one, when they are read."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.data.columns import Column
from onnxcompress.data.fit import picture_layout
from onnxcompress.data.inputs import InputSpec
from onnxcompress.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

RESIZES = ("crop", "stretch")


class ImageColumn(Column):
    """Pictures as uint8, N x C x H x W or N x H x W x C, the size that the model takes.

    Args:
        files: Picture files in order; a name only ever appears in an error on this machine.
        size: (height, width) in pixels.
        channels: 1 for grey, 3 for RGB.
        layout: ``nchw`` or ``nhwc``.
        resize: ``crop`` scales the shorter side and cuts out the centre; ``stretch`` ignores the proportions.
    """

    def __init__(self, files: list[Path], size: tuple[int, int], channels: int, layout: str, resize: str) -> None:
        self._files, self._size, self._mode, self._layout = files, size, "L" if channels == 1 else "RGB", layout
        self._resize = resize
        self.length, self.dtype = len(files), np.dtype(np.uint8)
        self.sample_shape = (channels, *size) if layout == "nchw" else (*size, channels)

    def take(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([self._picture(int(i)) for i in indices])

    def _picture(self, index: int) -> np.ndarray:
        from PIL import Image, ImageOps

        try:
            with warnings.catch_warnings(), Image.open(self._files[index]) as image:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                upright = ImageOps.exif_transpose(image).convert(self._mode)
                pixels = np.asarray(self._resized(upright))
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            raise DataError(
                "cannot decode a picture",
                where=f"sample {index}, {self._files[index].name}",
                why=str(error).replace(str(self._files[index]), self._files[index].name),
                hint="Remove or replace that file.",
                code="DATA-IMAGE",
            ) from error
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return pixels.transpose(2, 0, 1) if self._layout == "nchw" else pixels

    def _resized(self, image: Picture) -> Picture:
        from PIL import ImageOps
        from PIL.Image import Resampling

        target = (self._size[1], self._size[0])
        if self._resize == "stretch":
            return image.resize(target, Resampling.BILINEAR)
        return ImageOps.fit(image, target, Resampling.BILINEAR)


def image_column(
    files: list[Path], spec: InputSpec, *, layout: str, resize: str, size: tuple[int, int] | None
) -> Column:
    """The pictures as the input `spec` takes them.

    Raises:
        UsageError: Where the input's size is dynamic and none was given, or `resize` is unknown.
        DataError: Where the input does not take pictures.
    """
    if resize not in RESIZES:
        raise UsageError(f"unknown resize {resize!r}", hint="Use crop or stretch.", code="USAGE-RESIZE")
    dims = spec.sample_dims
    if dims is None or len(dims) != 3:
        raise DataError(
            "a folder of pictures does not fit the model",
            where=f"input {spec}",
            why="pictures need an input with batch, channels, height and width",
            hint="Give the samples as npz, or say how to make them: --data file.py:function.",
            code="DATA-RANK",
        )
    chosen = picture_layout(dims) if layout == "auto" else layout
    channels = dims[2] if chosen == "nhwc" else dims[0]
    sides = dims[:2] if chosen == "nhwc" else dims[1:]
    if channels not in (1, 3) and isinstance(channels, int):
        raise DataError(
            "a folder of pictures does not fit the model",
            where=f"input {spec}",
            why=f"it takes {channels} channels, and pictures give 1 or 3",
            hint="State the model's layout with --layout nchw or nhwc, or use --data file.py:function.",
            code="DATA-SHAPE",
        )
    return ImageColumn(files, size or _fixed(sides, spec), 1 if channels == 1 else 3, chosen, resize)


def _fixed(sides: tuple[int | str | None, ...], spec: InputSpec) -> tuple[int, int]:
    height, width = sides
    if not isinstance(height, int) or not isinstance(width, int):
        raise UsageError(
            "the model does not fix the size of its pictures",
            where=f"input {spec}",
            hint="Give one: --size 224x224.",
            code="USAGE-IMAGE-SIZE",
        )
    return height, width
