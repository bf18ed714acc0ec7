"""What torch writes for networks of every kind is cut right, and cut indeed: both of its exporters, at two ratios."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import onnxcompress as oc
from onnxcompress import model_io

torch = pytest.importorskip("torch")
from builders.torch_export import Net, export  # noqa: E402
from builders.torch_sequence_nets import sequence_nets  # noqa: E402
from builders.torch_vision_nets import vision_nets  # noqa: E402

ALL = {f"{net.name}-{by}": (net, by) for net in (*vision_nets(), *sequence_nets()) for by in net.exporters}
QUICK = [f"{n}-legacy" for n in ("resnet_option_a", "hardnet", "shufflenet_v2", "unet", "vit", "bidirectional_gru")]

KEPT = {0.3: 0.7, 0.5: 0.45}
"""Most of the parameters that may be left at a ratio, where nothing below says otherwise."""

KEPT_OF = {"shufflenet_v1": {0.3: 0.85, 0.5: 0.65}}
"""Its grouped convolutions keep as many on both sides of a shuffle."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("exports")


def _cut(net: Net, exporter: str, folder: Path) -> None:
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    path = folder / f"{net.name}-{exporter}.onnx"
    export(net, exporter, path)
    for ratio, most in KEPT_OF.get(net.name, KEPT).items():
        passes = [oc.Normalize(), oc.PruneChannels(ratio=ratio)]
        result = oc.PassManager(passes, verify="full").run(str(path))
        (error,) = [finding.numbers["error"] for finding in result.report.findings if finding.code == "PRUNE-EXACT"]
        assert error <= 1e-5
        share = result.report.after["params"] / result.report.before["params"]
        assert share <= most, f"{share:.2f} of the parameters stay at {ratio}"
        onnx.checker.check_model(model_io.to_proto(result.model), full_check=True)


@pytest.mark.parametrize("name", QUICK)
def test_some_exports_are_cut_right(name, folder):
    _cut(*ALL[name], folder)


@pytest.mark.ci
@pytest.mark.parametrize("name", [name for name in ALL if name not in QUICK])
def test_every_export_is_cut_right(name, folder):
    _cut(*ALL[name], folder)
