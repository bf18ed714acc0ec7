"""Text with known content as pictures: single lines for a recogniser and a direction classifier, pages for a detector.

Words come from Python's own help texts, fonts from the machine (DejaVu and Liberation under /usr/share/fonts); size,
contrast, blur and noise are drawn from a seed, so that a float model reads most lines and not all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = Path("/usr/share/fonts")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Line:
    """One rendered line: grey values (height, width) and what it says."""

    pixels: np.ndarray
    text: str


def fonts() -> list[str]:
    """Usable fonts in order of their names.

    Raises:
        SystemExit: Where the machine has none.
    """
    found = sorted(str(p) for p in FONTS.rglob("*.ttf") if re.match(r"(DejaVu|Liberation)", p.name))
    found = [path for path in found if not re.search(r"Math|ExtraLight", path)]
    if not found:
        raise SystemExit(f"no DejaVu or Liberation fonts under {FONTS}: install fonts-dejavu and fonts-liberation")
    return found


def words() -> list[str]:
    """Words, numbers and marks of Python's help texts."""
    text = " ".join(topics[key] for key in sorted(topics))
    return re.findall(r"[A-Za-z0-9][A-Za-z0-9.,:()'/-]*", text)


def lines(count: int, seed: int) -> list[Line]:
    """Single lines, 48 pixels high and at most 320 wide."""
    rng, known, faces = np.random.default_rng(seed), words(), fonts()
    made: list[Line] = []
    while len(made) < count:
        start = int(rng.integers(0, len(known) - 8))
        text = " ".join(known[start : start + int(rng.integers(1, 5))])[:28].strip()
        face = faces[int(rng.integers(0, len(faces)))]
        picture = _line(text, face, rng)
        if picture is not None and len(text) > 2:
            made.append(Line(_worn(picture, rng), text))
    return made


def _line(text: str, face: str, rng: np.random.Generator) -> Image.Image | None:
    """The text at a random size, brought to 48 pixels of height; None where it would be wider than 320."""
    size = int(rng.integers(13, 40))
    font = ImageFont.truetype(face, size)
    left, top, right, bottom = font.getbbox(text)
    pad = int(rng.integers(1, max(2, size // 4)))
    paper, ink = _contrast(rng)
    picture = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), paper)
    ImageDraw.Draw(picture).text((pad - left, pad - top), text, ink, font)
    picture = picture.rotate(float(rng.normal(0, 0.8)), Image.Resampling.BILINEAR, fillcolor=paper)
    width = round(picture.width * 48 / picture.height)
    return picture.resize((width, 48), Image.Resampling.BILINEAR) if width <= 320 else None


def _contrast(rng: np.random.Generator) -> tuple[int, int]:
    low, high = sorted(int(v) for v in rng.integers(0, 256, 2))
    if high - low < 60:
        low, high = max(0, low - 40), min(255, high + 40)
    return (high, low) if rng.random() < 0.7 else (low, high)


def _worn(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Blurred and noisy, as uint8."""
    blurred = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.6))))
    grey = np.asarray(blurred, np.float32)
    return np.clip(grey + rng.normal(0, rng.uniform(0, 18), grey.shape), 0, 255).astype(np.uint8)


def pages(count: int, seed: int, size: int = 320) -> tuple[np.ndarray, list[list[Box]]]:
    """Square pages of scattered lines, (count, size, size) uint8, and each line's box (left, top, right, bottom)."""
    rng, known, faces = np.random.default_rng(seed), words(), fonts()
    pictures: list[np.ndarray] = []
    boxes: list[list[Box]] = []
    for _ in range(count):
        picture, found = _page(rng, known, faces, size)
        pictures.append(_worn(picture, rng))
        boxes.append(found)
    return np.stack(pictures), boxes


def _page(rng: np.random.Generator, known: list[str], faces: list[str], size: int) -> tuple[Image.Image, list[Box]]:
    paper, ink = _contrast(rng)
    slope = (
        np.linspace(0, float(rng.normal(0, 25)), size)[None, :]
        + np.linspace(0, float(rng.normal(0, 25)), size)[:, None]
    )
    picture = Image.fromarray(np.clip(paper + slope, 0, 255).astype(np.uint8))
    draw, boxes, top = ImageDraw.Draw(picture), [], int(rng.integers(4, 30))
    while top < size - 20:
        font = ImageFont.truetype(faces[int(rng.integers(0, len(faces)))], int(rng.integers(11, 34)))
        start = int(rng.integers(0, len(known) - 8))
        text = " ".join(known[start : start + int(rng.integers(1, 4))])
        left = int(rng.integers(4, size // 2))
        box = tuple(int(v) for v in draw.textbbox((left, top), text, font))
        if box[2] < size - 3 and box[3] < size - 3:
            draw.text((left, top), text, ink, font)
            boxes.append(box)
        top = box[3] + int(rng.integers(6, 30))
    return picture, boxes
