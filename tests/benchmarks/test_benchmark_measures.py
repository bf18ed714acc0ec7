"""What the quantization benchmarks count: text, boxes, embeddings, accuracy and its paired interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxcompress.verify import intervals


def test_ctc_merges_repeats_and_leaves_out_blanks() -> None:
    from measures import ctc_text

    path = np.array([[0, 3, 3, 0, 3, 5], [2, 2, 0, 0, 0, 0]])
    rows = ctc_text({"y": np.eye(6, dtype=np.float32)[path]})
    assert rows.tolist() == [[3, 3, 5, -1, -1, -1], [2, -1, -1, -1, -1, -1]]


def test_lines_are_compared_whole_whatever_their_padding() -> None:
    from measures import same_rows

    labels = np.array([[3, 5, -1], [3, 5, -1], [-1, -1, -1]])
    assert same_rows(np.array([[3, 5], [3, -1], [-1, -1]]), labels).tolist() == [True, False, True]


def test_embeddings_are_judged_by_their_neighbours() -> None:
    from measures import equal_error_rate, nearest_is_alike

    near = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    labels = np.array([0, 0, 1, 1])
    assert nearest_is_alike(near, labels).all() and equal_error_rate(near, labels) == pytest.approx(1.0)
    assert not nearest_is_alike(near, np.array([0, 1, 0, 1])).any()


def test_regions_of_a_map_become_boxes_and_meet_those_wanted() -> None:
    from hard.boxes import boxes, hmean, padded

    map_ = np.zeros((40, 60), np.float32)
    map_[5:15, 10:50], map_[25:35, 5:25], map_[38:39, 0:60] = 0.9, 0.35, 0.9
    found = boxes(map_, unclip=0.0)
    assert found[0].tolist() == [10, 5, 50, 15] and (found[1:] == -1).all()  # the second is faint, the third a line
    wanted = padded([[(10, 5, 50, 15), (5, 25, 25, 35)]])
    assert hmean(found[None], wanted) == pytest.approx(2 / 3)
    assert hmean(wanted, wanted) == 1.0 and hmean(padded([[]]), wanted) == 0.0
    assert boxes(map_, unclip=2.0)[0].tolist() == [2, -3, 58, 23]


def test_accuracy_differs_by_the_paired_interval() -> None:
    import measures
    from cases import Case
    from scores import compared

    arrays = {"x": np.zeros((40, 1))}
    of = Case("a", Path("a"), arrays, arrays, np.arange(40) % 2, measures.ACCURACY)
    worse = of.labels.copy()
    worse[:3] = 1 - worse[:3]
    found = compared(of, of.labels, worse, 4.0)
    assert (found.value, found.reference, found.count) == (0.925, 1.0, 40)
    assert found.interval == intervals.paired_difference(3, 0, 40)
    assert "difference -7.50" in found.line() and "4.00 x smaller" in found.line()


def test_noise_is_told_in_decibels() -> None:
    from scores import sqnr

    signal = np.ones(100, np.float32)
    assert sqnr(signal, signal * 0.9) == pytest.approx(20.0, abs=1e-4) and sqnr(signal, signal) == 150.0


def test_some_test_samples_stand_for_all() -> None:
    import measures
    from cases import Case
    from scores import cut

    of = Case("a", Path("a"), {}, {"x": np.arange(10)}, np.arange(10), measures.ACCURACY)
    assert cut(of, 5).test["x"].tolist() == [0, 2, 4, 6, 8] and cut(of, None).count == 10


def test_a_folder_of_cases_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cases

    monkeypatch.setenv("ONNXCOMPRESS_BENCH", str(tmp_path))
    monkeypatch.delenv("ONNXCOMPRESS_TEST_DATA", raising=False)
    (tmp_path / "net.onnx").touch()
    (tmp_path / "net.json").write_text('{"measure": "accuracy"}')
    (tmp_path / "alone.json").write_text('{"measure": "accuracy"}')
    np.savez(tmp_path / "net.calib.npz", x=np.zeros((9, 2)))
    np.savez(tmp_path / "net.test.npz", x=np.ones((5, 2)), labels=np.arange(5))
    found = cases.case("net", calibration=4)
    assert cases.names() == ["net"] and list(found.test) == ["x"]
    assert found.calibration["x"].shape == (4, 2) and found.labels is not None and found.count == 5


def test_the_ends_of_a_file_are_its_features() -> None:
    from hard.snippets import features

    row = features(b"  ab" + b"c" * 10 + b"yz \n", each=4)
    assert bytes(row[:4].astype(np.uint8)) == b"abcc" and bytes(row[4:].astype(np.uint8)) == b"ccyz"
    assert features(b"ab", each=4).tolist() == [97, 98, 256, 256, 256, 256, 97, 98]


def test_words_are_split_into_the_longest_known_pieces(tmp_path: Path) -> None:
    from hard.sentences import WordPieces

    path = tmp_path / "vocab.json"
    path.write_text('["[PAD]", "▁", "[UNK]", "[CLS]", "[SEP]", "▁quan", "tize", "▁it", "."]', encoding="utf-8")
    pieces = WordPieces(path)
    assert pieces.ids("Quantize it. xx", length=9).tolist() == [3, 5, 6, 7, 2, 2, 4, 0, 0]
