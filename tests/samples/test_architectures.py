"""The networks of samples/models are the published ones: at full width they have the published parameter counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

MODELS = Path(__file__).parents[2] / "samples" / "models"
PUBLISHED = {
    "vgg16": 138_357_544,
    "resnet50": 25_557_032,
    "alexnet": 61_100_840,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_full_width_has_the_published_parameters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODELS))
    with torch.device("meta"):
        net = __import__(name).build(1, 1000, 3, 224)
        answer = net(torch.zeros(2, 3, 224, 224))
    assert sum(p.numel() for p in net.parameters()) == PUBLISHED[name]
    assert answer.shape == (2, 1000)
    sys.modules.pop(name, None)
