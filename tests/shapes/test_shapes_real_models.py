"""All real models: a full table of shapes, plausible costs, and equality with their own copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxcompress.cost import costs
from onnxcompress.graph import clone
from onnxcompress.model_io import load
from onnxcompress.runtime import runnable_part
from onnxcompress.shapes import infer
from onnxcompress.verify import check_exact, check_interface, check_structure

FOLDER = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", "."), "models")

# Parameters and MACs of one sample (free sizes at the probe's: espcn_x3 and yunet_n_dynamic 32 x 32, g2p_encoder and
# resemblyzer 32 steps, silero_vad 512 samples). Four are checked by hand: see test_known_figures.
FIGURES = {
    "FastestDet": (240305, 121491744),
    "bccd_dwcnn": (37731, 2583168),
    "breast_cancer_mlp": (4130, 4032),
    "dtln_model_1": (363393, 361088),
    "ecg_resnet1d_ds1": (77813, 3967392),
    "espcn_x3": (59657, 60915712),
    "fmnist_resnet8": (78330, 9345920),
    "fmnist_vgg_bn": (735274, 22496768),
    "fmnist_vit": (171914, 9308288),
    "fsdd_gru": (96586, 5763264),
    "g2p_decoder_step": (432714, 412160),
    "g2p_encoder": (402176, 12582912),
    "gtcrn_simple": (48225, 496976),
    "mobilenet_v1_0.25_128": (467647, 13570304),
    "point_history_classifier_lstm": (3895, 21032),
    "ppocrv5_cls": (1685027, 292979200),
    "resemblyzer": (1423616, 43319296),
    "silero_vad_16k_op15": (309633, 563968),
    "version-RFB-320": (307620, 100418560),
    "vww_mobilenetv1_025_96": (210850, 7489664),
    "yunet_n_dynamic": (73848, 1355984),
}


@pytest.mark.data
@pytest.mark.parametrize("name", FIGURES)
def test_shapes_costs_and_equality(name):
    model = load(FOLDER / f"{name}.onnx")
    assert runnable_part(model)[0] is model
    table = infer(model)
    made = [value.name for node in model.graph for value in node.outputs if value.name]
    assert [value for value in made if table.probe(value) is None] == []
    assert [value for value in made if table.dims(value) is None] == []
    found = costs(model, table)
    assert (found.params, found.macs) == FIGURES[name]
    assert found.bytes == pytest.approx((FOLDER / f"{name}.onnx").stat().st_size, rel=0.02)
    copy = clone(model)
    assert check_structure(copy) == []
    check_interface(model, copy)
    assert check_exact(model, copy)["max_abs"] == 0.0


@pytest.mark.data
def test_known_figures():
    """Worked out from the layers: 30*64 + 64*32 + 32*2; 1 x 5x5x1x64 + 3x3x64x64 + 3x3x64x32 + 3x3x32x9 per pixel."""
    assert FIGURES["breast_cancer_mlp"][1] == 30 * 64 + 64 * 32 + 32 * 2
    pixels = 32 * 32
    assert FIGURES["espcn_x3"][1] == pixels * (25 * 64 + 9 * 64 * 64 + 9 * 64 * 32 + 9 * 32 * 9)
    assert FIGURES["g2p_encoder"][1] == 32 * 3 * 256 * (256 + 256)
    assert FIGURES["resemblyzer"][1] == 32 * 4 * 256 * ((40 + 256) + 2 * (256 + 256)) + 256 * 256
