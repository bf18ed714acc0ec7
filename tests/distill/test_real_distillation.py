"""Real models: the bridge equals ONNX Runtime on all of them, and training brings damaged ones back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import set_weight

from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.graph import clone
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

ONE = RuntimeOptions(threads=1)
SIZES = {
    "N": 2,
    "batch": 2,
    "n": 2,
    "d0": 2,
    "t": 50,
    "T": 7,
    "H": 20,
    "W": 24,
    "height": 64,
    "width": 96,
    "sequence": 576,
}
NAMES = (
    *("fmnist_vgg_bn", "fmnist_resnet8", "fmnist_vit", "bccd_dwcnn", "ecg_resnet1d_ds1", "fsdd_gru"),
    *("breast_cancer_mlp", "point_history_classifier_lstm", "mobilenet_v1_0.25_128", "vww_mobilenetv1_025_96"),
    *("g2p_encoder", "g2p_decoder_step", "yunet_n_dynamic", "version-RFB-320", "silero_vad_16k_op15"),
    *("gtcrn_simple", "dtln_model_1", "espcn_x3", "ppocrv5_cls", "resemblyzer", "FastestDet"),
)


def feeds_for(model: ir.Model, session: Session) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for spec in session.inputs:
        shape = [d if isinstance(d, int) else SIZES[d] for d in spec.dims]
        if spec.name == "sr":
            feeds[spec.name] = np.array(16000)
        elif spec.name not in model.graph.initializers:
            kind = np.issubdtype(spec.dtype, np.integer)
            feeds[spec.name] = rng.integers(0, 20, shape) if kind else rng.normal(size=shape).astype(spec.dtype)
    return feeds


@pytest.mark.data
@pytest.mark.parametrize("name", NAMES)
def test_the_bridge_equals_onnx_runtime(real_data: Path, name: str):
    model = model_io.load(real_data / "models" / f"{name}.onnx")
    session = Session(model, ONE, optimize=False)
    feeds = feeds_for(model, session)
    bridge = Bridge(model)
    found = bridge.specialise(feeds).run(feeds)
    for key, want in session.run(feeds).items():
        scale = max(1.0, float(np.abs(want).max()))
        np.testing.assert_allclose(found[key].detach().numpy() / scale, want / scale, atol=1e-5)
    floats = [t for t in found.values() if t.requires_grad]
    sum((t.square().sum() for t in floats), start=0 * bridge.parameters[0].sum()).backward()
    assert not floats or all(p.grad is not None for _, p in bridge.trainable())


def samples(folder: Path, name: str) -> tuple[ArraySource, ArraySource]:
    """Training and test samples as the model takes them."""
    file, key, lay = {
        "fmnist_resnet8": ("fashion_mnist", "input", lambda x: (x[:, None] / 255 - 0.2860) / 0.3530),
        "bccd_dwcnn": ("bccd_cells", "input", lambda x: (x.transpose(0, 3, 1, 2) / 255 - 0.6) / 0.2),
        "ecg_resnet1d_ds1": ("ecg_mitbih_ds1", "beat", lambda x: x[:, None]),
        "fsdd_gru": ("fsdd_logmel", "logmel", lambda x: x),
        "breast_cancer_mlp": ("breast_cancer", "input", lambda x: x),
    }[name]
    arrays = np.load(folder / "data" / f"{file}.npz")
    return tuple(ArraySource({key: lay(arrays[k][:1000]).astype(np.float32)}) for k in ("x_train", "x_test"))


def damaged(teacher: ir.Model) -> ir.Model:
    """Each weight without its smallest 60 %: what a careless magnitude pruning leaves."""
    student = clone(teacher)
    for name, value in teacher.graph.initializers.items():
        weight = value.const_value.numpy()
        if weight.ndim >= 2 and weight.size > 200:
            set_weight(student, name, weight * (np.abs(weight) > np.quantile(np.abs(weight), 0.6)))
    return student


@pytest.mark.data
@pytest.mark.parametrize("name", ["fmnist_resnet8", "bccd_dwcnn", "ecg_resnet1d_ds1", "fsdd_gru", "breast_cancer_mlp"])
def test_training_brings_a_damaged_model_back(real_data: Path, name: str):
    teacher = model_io.load(real_data / "models" / f"{name}.onnx")
    student, (train, test) = damaged(teacher), samples(real_data, name)
    findings = distill(Job(student, teacher, train, test, Settings(steps=60), ONE))
    numbers = findings[-1].numbers
    assert findings[-1].code == "DISTILL-TRAINED"
    assert numbers["error_after"] < 0.7 * numbers["error_before"]
    assert numbers["agreement_after"] >= numbers["agreement_before"]
