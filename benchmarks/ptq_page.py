"""docs/results/quantization.md from the rows of benchmarks/ptq.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptq_tools import TOOLS

from onnxcompress.environment import environment
from onnxcompress.runtime_options import RuntimeOptions

Row = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Row]]
"""By model, then by tool."""

MOST_SPREAD = 0.25
"""Relative difference of two float sessions above which no time is told."""

_TEXT = """# Quantization beside its peers

Written by `python benchmarks/ptq.py` (`make ptq`); {versions}.

Every tool gets the same unlabelled samples (at most 128), one process and one thread, each in an environment of its
own; settings of the peers (and of onnxsim and NNCF, those listed in benchmarks/ptq_tools.py) are chosen on
calibration samples by the distance of the outputs, never on test data.

- **score**: on samples that nothing was fitted to; below it the difference to float in points with its 95 % interval,
  paired on the same samples. Without labels the SQNR of all outputs in dB.
- **passes**: processor seconds of the whole call as a multiple of one float32 pass over the calibration samples; of the
  chosen setting alone, not of the search for it. **MB**: peak memory of the process, its imports included.
- **int/float**: convolutions and matrix products that ONNX Runtime (OV: OpenVINO) runs on integers and in float.
- **speed**: float time over this file's, paired and interleaved, medians of 15 rounds, batch raised until float takes
  10 ms; a figure inside the noise (the larger of 5 % and the spread of two float sessions) is in brackets, and there is
  none where that spread is above a quarter. Figures of one model were taken side by side; the machine was shared.
- ORT plain: `quantize_static`, Q/DQ, U8S8, per channel, min-max, after its own preprocessing. ORT best: the best of
  min-max and percentile (99.99), on all operators or on Conv, MatMul and Gemm only. Its entropy is min-max: with the
  128 bins that `quantize_static` fixes, the maximum is the one threshold to choose, and all scales are equal.
- onnxsim: `quantize_static(full_graph=True)`, the form that ONNX Runtime runs on integers; min-max or mse.
"""


def page(rows: Rows, note: str = "") -> str:
    """The whole page; `note` tells how these rows came about where one plain run did not make them all."""
    versions = ", ".join(f"{k} {v}" for k, v in environment(RuntimeOptions(threads=1)).items())
    parts = [_TEXT.format(versions=versions), *([note + "\n"] if note else []), _summary(rows)]
    parts += [_model(name, found) for name, found in sorted(rows.items(), key=lambda item: item[0].lower())]
    return "\n".join(parts)


def _summary(rows: Rows) -> str:
    tools = [tool.name for tool in TOOLS if any(tool.name in found for found in rows.values())]
    lines = ["## Points lost to float", "", f"| model | measure | float | {' | '.join(tools)} |"]
    lines.append("|---" * (len(tools) + 3) + "|")
    for name, found in sorted(rows.items(), key=lambda item: item[0].lower()):
        told = found["float"]["score"]
        before = f"{100 * told['reference']:.2f}" if told["reference"] is not None else ""
        cells = " | ".join(_short(found.get(tool)) for tool in tools)
        lines.append(f"| {name} | {told['measure']} | {before} | {cells} |")
    return "\n".join(lines) + "\n"


def _short(row: Row | None) -> str:
    if row is None:
        return "not run"
    if "failed" in row:
        return "failed"
    score = row["score"]
    return f"{score['value']:.1f} dB" if score["difference"] is None else f"{100 * score['difference']:+.2f}"


def _model(name: str, found: Mapping[str, Row]) -> str:
    plain, times = found["float"], found.get("times", {})
    count = plain["score"]["count"]
    head = f"## {name}\n\n{count} test samples; float file {plain['bytes'] / 1e6:.2f} MB"
    if "cpu_s" in plain:
        head += f"; one float pass {plain['cpu_s']:.2f} s, {plain['peak_mb']:.0f} MB"
    columns = "| tool | score | difference | passes | MB | size | int/float | speed | OV int/float | OV speed |"
    lines = [head + ".", "", columns, "|---" * 10 + "|"]
    lines += [_line(tool.name, found[tool.name], plain, times) for tool in TOOLS if tool.name in found]
    notes = [*_failures(found), *_refusals(times)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _failures(found: Mapping[str, Row]) -> list[str]:
    return [f"- {t.name} failed: {found[t.name]['failed']}" for t in TOOLS if "failed" in found.get(t.name, {})]


def _refusals(times: Mapping[str, Any]) -> list[str]:
    """What OpenVINO says of the files that it does not load, without its source paths."""
    rows = times.get("openvino", {})
    refused = {t.name: rows[t.name]["failed"] for t in TOOLS if "failed" in rows.get(t.name, {})}
    return [f"- OpenVINO refuses the file of {name}: {told.split(': ', 1)[-1]}" for name, told in refused.items()]


def _line(tool: str, row: Row, plain: Row, times: Mapping[str, Any]) -> str:
    if "failed" in row:
        return f"| {tool} | failed |" + " |" * 8
    value, difference = _score(row["score"])
    size = f"{plain['bytes'] / row['bytes']:.2f} x"
    kernel = row["kernels"]
    inside = f"{kernel['integer']}/{kernel['float']}" if "integer" in kernel else "not loaded"
    vino = times.get("openvino", {}).get(tool, {})
    there = f"{vino['integer']}/{vino['float']}" if "integer" in vino else ("refused" if "failed" in vino else "")
    cells = [tool, value, difference, f"{row['passes']:.1f}", f"{row['peak_mb']:.0f}", size, inside]
    return f"| {' | '.join([*cells, _ort_speed(tool, times), there, _vino_speed(tool, times)])} |"


def _score(score: Row) -> tuple[str, str]:
    """The score, and its distance from float with the interval."""
    if score["difference"] is None:
        return f"{score['value']:.1f} dB", ""
    told = f"{100 * score['difference']:+.2f}"
    if score["interval"]:
        told += " [{:+.2f}, {:+.2f}]".format(*(100 * v for v in score["interval"]))
    return f"{100 * score['value']:.2f}", told


def _ort_speed(tool: str, times: Mapping[str, Any]) -> str:
    taken = times.get("ort", {})
    found = taken.get("models", {}).get(tool)
    if not found:
        return ""
    if taken["aa_spread"] > MOST_SPREAD:
        return "noise"
    told = f"{found['ratio']:.2f} x"
    return told if found["beyond_noise"] else f"({told})"


def _vino_speed(tool: str, times: Mapping[str, Any]) -> str:
    found, plain = (times.get("openvino", {}).get(name, {}) for name in (tool, "float"))
    if "ratio" not in found:
        return ""
    if plain.get("spread", 0.0) > MOST_SPREAD:
        return "noise"
    told = f"{found['ratio']:.2f} x"
    return told if abs(found["ratio"] - 1) > max(0.05, plain.get("spread", 0.0)) else f"({told})"
