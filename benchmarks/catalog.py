"""The real models that development measures on, each with samples as its authors preprocess them.

The folder (models/, data/) is not part of this repository; its place comes from ONNXCOMPRESS_TEST_DATA. Models that
come without a data set are fed by what the folder holds for them: photographs, or speech run through the model so
that recurrent states are real ones.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Arrays by input name for calibration and for measuring, with labels where there are any."""

    train: Arrays
    test: Arrays
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None


@dataclass(frozen=True)
class Entry:
    """One model of the folder.

    Attributes:
        name: File name without its suffix.
        path: The file.
        samples: Makes the samples; slow ones are made once a call.
        metric: ``f(outputs, labels) -> float`` where accuracy of the first output is not the measure.
    """

    name: str
    path: Path
    samples: Callable[[], Samples]
    metric: Callable[[Arrays, np.ndarray], float] | None = None


CALIBRATION = 1500


def catalog(folder: Path, most: int = CALIBRATION) -> dict[str, Entry]:
    """All models, by name, with at most `most` pictures or heart beats to calibrate or train on."""
    makers: dict[str, Callable[[Path], Samples]] = {
        "FastestDet": lambda f: _pictures(f, (352, 352), lambda x: x[..., ::-1] / 255.0, "input.1"),
        "bccd_dwcnn": lambda f: _images(f, "bccd_cells", 0.6, 0.2, most),
        "breast_cancer_mlp": lambda f: _table(f, "breast_cancer", "input"),
        "dtln_model_1": _dtln,
        "ecg_resnet1d_ds1": lambda f: _ecg(f, most),
        "espcn_x3": _super_resolution,
        "fmnist_resnet8": lambda f: _images(f, "fashion_mnist", 0.2860, 0.3530, most),
        "fmnist_vgg_bn": lambda f: _images(f, "fashion_mnist", 0.2860, 0.3530, most),
        "fmnist_vit": lambda f: _images(f, "fashion_mnist", 0.2860, 0.3530, most),
        "fsdd_gru": lambda f: _table(f, "fsdd_logmel", "logmel"),
        "g2p_decoder_step": _g2p_decoder,
        "g2p_encoder": _g2p_encoder,
        "gtcrn_simple": _gtcrn,
        "mobilenet_v1_0.25_128": lambda f: _pictures(f, (128, 128), lambda x: x / 127.5 - 1.0, "input"),
        "point_history_classifier_lstm": _gestures,
        "ppocrv5_cls": _text_direction,
        "resemblyzer": _speakers,
        "silero_vad_16k_op15": _silero,
        "version-RFB-320": lambda f: _pictures(f, (240, 320), lambda x: (x - 127.0) / 128.0, "input"),
        "vww_mobilenetv1_025_96": lambda f: _pictures(f, (96, 96), lambda x: x / 255.0, "input"),
        "yunet_n_dynamic": lambda f: _pictures(f, (320, 320), lambda x: x[..., ::-1] + 0.0, "input"),
    }
    metrics = {"resemblyzer": equal_error_rate, "point_history_classifier_lstm": class_ids}
    return {
        name: Entry(name, folder / "models" / f"{name}.onnx", _bound(maker, folder), metrics.get(name))
        for name, maker in makers.items()
    }


def equal_error_rate(outputs: Arrays, labels: np.ndarray) -> float:
    """100 minus the equal error rate of all pairs of embeddings by cosine, in percent."""
    unit = outputs["embedding"] / np.linalg.norm(outputs["embedding"], axis=1, keepdims=True)
    upper = np.triu_indices(len(unit), 1)
    score = (unit @ unit.T)[upper]
    same = (labels[:, None] == labels[None, :])[upper]
    order = np.argsort(score)
    missed = np.cumsum(same[order]) / max(same.sum(), 1)
    accepted = 1.0 - np.cumsum(~same[order]) / max((~same).sum(), 1)
    at = int(np.argmin(np.abs(missed - accepted)))
    return float(1.0 - (missed[at] + accepted[at]) / 2)


def class_ids(outputs: Arrays, labels: np.ndarray) -> float:
    """Share of class numbers that are right."""
    return float((outputs["class_ids"].reshape(-1) == labels).mean())


def _bound(maker: Callable[[Path], Samples], folder: Path) -> Callable[[], Samples]:
    return lambda: maker(folder / "data")


def _halves(arrays: Arrays) -> Samples:
    """Without a test set of its own: every fifth sample measures."""
    index = np.arange(len(next(iter(arrays.values()))))
    pick = index % 5 == 4
    return Samples({k: v[~pick] for k, v in arrays.items()}, {k: v[pick] for k, v in arrays.items()})


def _load(folder: Path, name: str) -> Arrays:
    with np.load(folder / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def _images(folder: Path, name: str, mean: float, std: float, most: int) -> Samples:
    raw = _load(folder, name)

    def ready(x: np.ndarray) -> Arrays:
        planes = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
        return {"input": ((planes / 255.0 - mean) / std).astype(np.float32)}

    train = slice(0, most)
    return Samples(ready(raw["x_train"][train]), ready(raw["x_test"]), raw["y_train"][train], raw["y_test"])


def _table(folder: Path, name: str, key: str) -> Samples:
    raw = _load(folder, name)
    parts = ({key: raw[part].astype(np.float32)} for part in ("x_train", "x_test"))
    return Samples(*parts, raw["y_train"], raw["y_test"])


def _ecg(folder: Path, most: int) -> Samples:
    raw = _load(folder, "ecg_mitbih_ds1")
    # Beats lie by patient: some of each.
    train = np.arange(0, len(raw["x_train"]), max(1, -(-len(raw["x_train"]) // most)))
    beats = ({"beat": x[:, None].astype(np.float32)} for x in (raw["x_train"][train], raw["x_test"]))
    return Samples(*beats, raw["y_train"][train], raw["y_test"])


def _gestures(folder: Path) -> Samples:
    raw = _load(folder, "gesture_point_history")
    order = np.random.default_rng(0).permutation(len(raw["x"]))
    train, test = order[:1000], order[1000:]
    parts = ({"input": raw["x"][i], "score_threshold": np.zeros(len(i), np.float32)} for i in (train, test))
    return Samples(*parts, raw["y"][train], raw["y"][test])


def _text_direction(folder: Path) -> Samples:
    raw = _load(folder, "ocr_direction")
    mean, std = (np.asarray(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def ready(x: np.ndarray) -> Arrays:
        return {"x": ((np.repeat(x[:, None], 3, axis=1) / 255.0 - mean) / std).astype(np.float32)}

    return Samples(ready(raw["calib"]), ready(raw["x"]), None, raw["y"])


def _speakers(folder: Path) -> Samples:
    raw = _load(folder, "speakers_mel")
    return Samples({"mel": raw["calib"]}, {"mel": raw["x"]}, raw["calib_y"], raw["y"])


def _photos(folder: Path) -> Iterator[Image.Image]:
    for path in sorted((folder / "photos").glob("*.jpg")):
        yield Image.open(path).convert("RGB")


def _crops(picture: Image.Image, size: tuple[int, int], count: int, seed: int) -> Iterator[np.ndarray]:
    """The whole picture and seeded crops of it, at `size` (height, width), as float arrays (height, width, 3)."""
    generator = np.random.default_rng(seed)
    yield np.asarray(picture.resize(size[::-1]), np.float32)
    for _ in range(count - 1):
        scale = generator.uniform(0.4, 0.9)
        wide, high = (int(n * scale) for n in picture.size)
        left, top = (int(generator.integers(0, n - m + 1)) for n, m in zip(picture.size, (wide, high), strict=True))
        box = (left, top, left + wide, top + high)
        yield np.asarray(picture.crop(box).resize(size[::-1]), np.float32)


def _pictures(folder: Path, size: tuple[int, int], scale: Callable[[np.ndarray], np.ndarray], name: str) -> Samples:
    crops = [c for i, picture in enumerate(_photos(folder)) for c in _crops(picture, size, 16, i)]
    ready = np.stack([scale(c).transpose(2, 0, 1) for c in crops]).astype(np.float32)
    return _halves({name: np.ascontiguousarray(ready)})


def _super_resolution(folder: Path) -> Samples:
    rows: list[np.ndarray] = []
    for i, picture in enumerate(_photos(folder)):
        crops = _crops(picture.convert("L").convert("RGB"), (56, 56), 20, i)
        rows.extend(crop[None, :, :, 0] / 255.0 for crop in crops)
    return _halves({"input": np.stack(rows).astype(np.float32)})


def _speech(folder: Path, name: str) -> np.ndarray:
    with wave.open(str(folder / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768.0


def _session(folder: Path, name: str) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    return ort.InferenceSession(folder.parent / "models" / f"{name}.onnx", settings, ["CPUExecutionProvider"])


def _stack(steps: list[Arrays]) -> Arrays:
    return {key: np.stack([step[key] for step in steps]) for key in steps[0]}


def _dtln(folder: Path) -> Samples:
    """Magnitude frames of noisy speech with the states that the model itself reached."""
    session, speech = _session(folder, "dtln_model_1"), _speech(folder, "noisy_speech_16k")
    state = np.zeros((1, 2, 128, 2), np.float32)
    steps: list[Arrays] = []
    for start in range(0, len(speech) - 512, 128):
        frame = np.abs(np.fft.rfft(speech[start : start + 512])).astype(np.float32).reshape(1, 1, 257)
        steps.append({"input_2": frame, "input_3": state})
        state = session.run(None, steps[-1])[1]
    return _halves(_stack(steps[::2]))


def _gtcrn(folder: Path) -> Samples:
    session, speech = _session(folder, "gtcrn_simple"), _speech(folder, "noisy_speech_16k")
    window = np.hanning(512).astype(np.float32) ** 0.5
    sizes = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}
    states = {k: np.zeros(v, np.float32) for k, v in sizes.items()}
    steps: list[Arrays] = []
    for start in range(0, len(speech) - 512, 256):
        spectrum = np.fft.rfft(speech[start : start + 512] * window)
        frame = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32).reshape(1, 257, 1, 2)
        steps.append({"mix": frame, **states})
        states = dict(zip(sizes, session.run(None, steps[-1])[1:], strict=True))
    return _halves(_stack(steps))


def _silero(folder: Path) -> Samples:
    """Windows of 512 samples behind their 64 samples of context, with the states that the model reached."""
    session, speech = _session(folder, "silero_vad_16k_op15"), _speech(folder, "speech_60s_16k")
    state, padded = np.zeros((2, 1, 128), np.float32), np.concatenate([np.zeros(64, np.float32), speech])
    steps: list[Arrays] = []
    for start in range(0, 512 * 400, 512):
        window = padded[start : start + 576].reshape(1, -1)
        steps.append({"input": window, "state": state, "sr": np.asarray(16000, np.int64)})
        state = session.run(None, steps[-1])[1]
    flat = _stack(steps)
    return _halves({"input": flat["input"][:, 0], "state": flat["state"], "sr": flat["sr"]})


def _words(folder: Path) -> list[str]:
    lines = (folder / "g2p_cmudict_3000.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines if line.split("\t")[0].isalpha()]


def _g2p_encoder(folder: Path) -> Samples:
    """Words of eight letters as ids, closed by </s>."""
    letters = (folder / "g2p_symbols.txt").read_text(encoding="utf-8").splitlines()[0].split()
    ids = {symbol: i for i, symbol in enumerate(letters)}
    rows = [[ids[c] for c in word] + [ids["</s>"]] for word in _words(folder) if len(word) == 8]
    return _halves({"letters": np.asarray(rows, np.int64)})


def _g2p_decoder(folder: Path) -> Samples:
    """Greedy decoding steps from the encoder's states."""
    encoder, decoder = _session(folder, "g2p_encoder"), _session(folder, "g2p_decoder_step")
    letters = _g2p_encoder(folder).train["letters"][:60]
    hidden = encoder.run(None, {"letters": letters})[0]
    previous = np.full((len(letters), 1), 2, np.int64)
    rows: list[Arrays] = []
    for _ in range(7):
        rows.append({"prev": previous, "h_in": hidden.transpose(1, 0, 2)})
        logits, hidden = decoder.run(None, {"prev": previous, "h_in": hidden})
        previous = logits.argmax(1).reshape(-1, 1).astype(np.int64)
    joined = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    return _halves({"prev": joined["prev"], "h_in": joined["h_in"]})
