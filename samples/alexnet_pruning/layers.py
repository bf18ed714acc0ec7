"""Where AlexNet's parameters and where its time go, layer by layer: `inspect` beside ONNX Runtime's own profile."""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from samples.measure import run

RUNS = 50


def layers(model: Path, batch: np.ndarray) -> dict[str, dict[str, float]]:
    """Share of parameters, multiply-adds and time of each layer that has weights, in percent."""
    told = json.loads(run("inspect", model, "--json"))
    times = profile(model, batch)
    whole = {"params": told["costs"]["params"], "macs": told["costs"]["macs"], "ms": sum(times.values())}
    found: dict[str, dict[str, float]] = {}
    for layer in told["layers"]:
        name = layer["name"].strip("/").split("/")[0]
        found[name] = {
            key: 100 * value / whole[key] for key, value in {**layer, "ms": times[name]}.items() if key in whole
        }
    rest = 100 - sum(layer["ms"] for layer in found.values())
    return found | {"all else": {"params": 0.0, "macs": 0.0, "ms": rest}}


def profile(model: Path, batch: np.ndarray) -> dict[str, float]:
    """Milliseconds of one run by layer, the mean of 50.

    ONNX Runtime names what it fuses by the convolution or by the activation behind it: conv3 or relu3 are one layer.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        feeds = {session.get_inputs()[0].name: batch}
        for _ in range(RUNS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, float] = defaultdict(float)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            layer = re.search(r"(fc|conv|relu)(\d)", event["name"])
            name = f"{'conv' if int(layer[2]) < 6 else 'fc'}{layer[2]}" if layer else "all else"
            times[name] += event["dur"] / 1000 / RUNS
    return times


def table(found: dict[str, dict[str, float]]) -> str:
    """The shares in Markdown."""
    rows = [f"| {k} | {v['params']:.1f} | {v['macs']:.1f} | {v['ms']:.1f} |" for k, v in found.items()]
    return "\n".join(["| layer | parameters % | multiply-adds % | time % |", "|---|---|---|---|", *rows])


def bars(figure: Any, found: dict[str, dict[str, float]]) -> None:
    """Three bars a layer."""
    axes = figure.subplots()
    for number, (key, label) in enumerate((("params", "parameters"), ("macs", "multiply-adds"), ("ms", "time"))):
        places = [place + 0.27 * (number - 1) for place in range(len(found))]
        axes.bar(places, [layer[key] for layer in found.values()], 0.25, label=label)
    axes.set_xticks(range(len(found)), list(found))
    axes.set(ylabel="share, %")
    axes.legend()
