"""The benchmark of the training step: what both sides train is one network, and the page has a row for each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.mark.ci
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "vit"])
def test_the_file_is_the_network_with_its_normalization(name: str, tmp_path: Path) -> None:
    from training_speed import BATCH, by_us, export, pictures

    x, path = pictures()[:BATCH], tmp_path / f"{name}.onnx"
    module = export(name, path)
    step, made = by_us(path, x)
    with torch.no_grad():
        logits, blocks = module(torch.from_numpy(x))
    assert len(made) == 1 + len(blocks)
    for mine, theirs in zip([logits, *blocks], made.values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    step()


def test_the_page_has_a_row_for_each_network() -> None:
    from training_speed import page

    row: dict[str, float] = dict.fromkeys(
        ("hand", "ours", "ratio", "least", "aa", "build", "hand_mib", "ours_mib"), 1.0
    )
    text = page({"a": row, "b": row | {"ours_mib": 1.5}}, 9, 4, "load 1")
    assert "| b | 1000.0 | 1000.0 | 1.000 x | 1.000 x | 1.000 | 1 | 2 | 1.50 x | 1.00 |" in text
