"""Names, labels, shapes and the choice of samples: what `open_data` settles before anything is read."""

from __future__ import annotations

import numpy as np
import pytest
from builders.data_models import model_taking

from onnxcompress.data import ArraySource, open_data, parse_mapping
from onnxcompress.errors import DataError, UsageError

PICTURE = "float[N,3,4,4] x"


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def everything(source, name="x"):
    return source.read(np.arange(len(source)))[name]


def test_a_key_of_the_inputs_name_feeds_it(tmp_path):
    np.savez(tmp_path / "d.npz", x=numbers(5, 3, 4, 4), other=np.zeros(9), labels=np.arange(5))
    source = open_data(tmp_path / "d.npz", model_taking(PICTURE))
    assert source.names == ("x",) and len(source) == 5
    np.testing.assert_array_equal(everything(source), numbers(5, 3, 4, 4))
    np.testing.assert_array_equal(source.labels([1, 3]), [1, 3])


def test_the_only_array_feeds_the_only_input(tmp_path):
    np.savez(tmp_path / "d.npz", anything=numbers(5, 3, 4, 4), y=np.arange(5))
    assert len(open_data(tmp_path / "d.npz", model_taking(PICTURE))) == 5


def test_two_candidates_ask_for_map_and_name_the_one_that_fits(tmp_path):
    np.savez(tmp_path / "d.npz", wrong=numbers(5, 7), x_train=numbers(5, 3, 4, 4), y_train=np.arange(5))
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "d.npz", model_taking("float[N,3,4,4] pixels"))
    assert caught.value.code == "DATA-MISSING-INPUT"
    assert "'pixels' (float32, N x 3 x 4 x 4)" in str(caught.value)
    assert "wrong, x_train, y_train" in str(caught.value)
    assert "--map pixels=x_train" in caught.value.hint


def test_labels_go_with_the_mapped_key(tmp_path):
    arrays = {"x_train": numbers(5, 2), "y_train": np.arange(5), "x_test": numbers(3, 2), "y_test": np.arange(3) + 7}
    np.savez(tmp_path / "d.npz", **arrays)
    source = open_data(tmp_path / "d.npz", model_taking("float[N,2] x"), mapping={"x": "x_test"})
    np.testing.assert_array_equal(source.labels([0, 1, 2]), [7, 8, 9])


def test_labels_by_name_by_map_and_of_another_length(tmp_path):
    np.savez(tmp_path / "d.npz", x=numbers(5, 2), kind=np.arange(5)[:, None], y=np.arange(4))
    model, path = model_taking("float[N,2] x"), tmp_path / "d.npz"
    np.testing.assert_array_equal(open_data(path, model, labels="kind").labels([4]), [4])
    np.testing.assert_array_equal(open_data(path, model, mapping={"labels": "kind"}).labels([4]), [4])
    assert open_data(path, model).labels([0]) is None, "four labels cannot belong to five samples"
    with pytest.raises(DataError, match="one label for each of the 5 samples") as caught:
        open_data(path, model, labels="y")
    assert caught.value.code == "DATA-LENGTH"
    with pytest.raises(UsageError, match="no key 'z'"):
        open_data(path, model, labels="z")


def test_labels_of_their_own(tmp_path):
    np.save(tmp_path / "x.npy", numbers(5, 2))
    np.save(tmp_path / "y.npy", np.arange(5) + 3)
    model = model_taking("float[N,2] x")
    for labels in (str(tmp_path / "y.npy"), np.arange(5) + 3):
        np.testing.assert_array_equal(open_data(tmp_path / "x.npy", model, labels=labels).labels([4]), [7])
    with pytest.raises(DataError, match="one label for each of the 5 samples"):
        open_data(tmp_path / "x.npy", model, labels=np.arange(4))


def test_a_state_is_never_made_up():
    model = model_taking("float[N,4] x", "float[1,N,8] h")
    with pytest.raises(DataError) as caught:
        open_data({"x": numbers(5, 4)}, model)
    assert caught.value.code == "DATA-MISSING-INPUT"
    assert "states and caches too" in caught.value.hint and "shape N x 1 x 8" in caught.value.hint
    assert "--map h=0" in caught.value.hint


@pytest.mark.parametrize("shape", [(5, 1, 8), (1, 5, 8), (5, 1, 1, 8), (1, 1, 8)], ids=str)
def test_a_state_is_taken_in_the_forms_that_people_save_it(shape):
    model = model_taking("float[N,4] x", "float[1,N,8] h")
    state = numbers(*shape)
    read = open_data({"x": numbers(5, 4), "h": state}, model).read([3])["h"]
    row = state.reshape(-1, 8)[3 if state.size == 40 else 0]
    np.testing.assert_array_equal(read, row.reshape(1, 1, 8))


def test_constants_by_number_scalars_and_caches_of_one_size():
    model = model_taking("float[1,4] x", "float[2,1,3] cache", "int64 rate")
    source = open_data({"x": numbers(5, 4), "cache": numbers(2, 1, 3)}, model, mapping={"rate": "16000"})
    read = source.read([0, 4])
    assert read["rate"].tolist() == [16000, 16000] and read["rate"].dtype == np.int64
    np.testing.assert_array_equal(read["cache"], np.stack([numbers(2, 1, 3)] * 2))
    each = open_data({"x": numbers(5, 4), "cache": numbers(5, 2, 1, 3), "rate": np.int64(8)}, model)
    np.testing.assert_array_equal(each.read([4])["cache"], numbers(5, 2, 1, 3)[4:])


def test_a_fixed_batch_of_four_takes_the_samples_of_a_batch():
    assert everything(open_data({"x": numbers(8, 3, 2, 2)}, model_taking("float[4,3,2,2] x"))).shape == (8, 3, 2, 2)


@pytest.mark.parametrize(
    ("taken", "stored"),
    [("N,1,4,4", (5, 4, 4)), ("N,1,30", (5, 30)), ("1,1,30", (5, 30)), ("N,4,4", (5, 1, 4, 4)), ("N,9", (5, 9, 1))],
)
def test_an_axis_of_one_is_inserted_or_dropped(taken, stored):
    read = everything(open_data({"x": numbers(*stored)}, model_taking(f"float[{taken}] x")))
    assert read.shape == (5, *(int(d) for d in taken.split(",")[1:]))
    np.testing.assert_array_equal(read.ravel(), numbers(*stored).ravel())


def test_channels_last_is_seen_or_said():
    model = model_taking(PICTURE)
    stored = numbers(5, 4, 4, 3)
    np.testing.assert_array_equal(everything(open_data({"x": stored}, model)), stored.transpose(0, 3, 1, 2))
    ambiguous = numbers(2, 3, 3, 3)
    cube = model_taking("float[N,3,3,3] x")
    np.testing.assert_array_equal(everything(open_data({"x": ambiguous}, cube)), ambiguous)
    turned = everything(open_data({"x": ambiguous}, cube, layout="nhwc"))
    np.testing.assert_array_equal(turned, ambiguous.transpose(0, 3, 1, 2))
    last = everything(open_data({"x": numbers(5, 3, 4, 4)}, model_taking("float[N,4,4,3] x")))
    assert last.shape == (5, 4, 4, 3)


def test_a_grey_picture_fills_a_colour_model():
    stored = numbers(5, 4, 4)
    read = everything(open_data({"x": stored}, model_taking(PICTURE)))
    np.testing.assert_array_equal(read, np.repeat(stored[:, None], 3, axis=1))


def test_one_colour_picture_is_not_three_grey_ones():
    with pytest.raises(DataError) as caught:
        open_data({"x": numbers(3, 4, 4)}, model_taking(PICTURE))
    assert "first axis counts samples" in caught.value.hint


def test_a_misfit_names_both_shapes_and_the_key(tmp_path):
    np.savez(tmp_path / "d.npz", x=numbers(5, 3, 4, 5))
    with pytest.raises(DataError, match="a sample is 3 x 4 x 5, and input 'x' takes 3 x 4 x 4") as caught:
        open_data(tmp_path / "d.npz", model_taking(PICTURE))
    assert caught.value.code == "DATA-SHAPE" and caught.value.where == "d.npz, key 'x'"


def test_types_are_cast_where_that_is_safe_and_refused_otherwise():
    half = numbers(5, 2, dtype="float16")
    assert everything(open_data({"x": half}, model_taking("float[N,2] x"))).dtype == np.float32
    assert everything(open_data({"x": half}, model_taking("float16[N,2] x"))).dtype == np.float16
    assert everything(open_data({"x": half}, model_taking("bfloat16[N,2] x"))).dtype.name == "bfloat16"
    assert everything(open_data({"x": np.ones((5, 2), "u1")}, model_taking("int64[N,2] x"))).dtype == np.int64
    with pytest.raises(DataError, match="the data is float16, and the input takes int64") as caught:
        open_data({"x": half}, model_taking("int64[N,2] x"))
    assert caught.value.code == "DATA-DTYPE" and "--map x=KEY" in caught.value.hint
    narrow = open_data({"x": np.full((5, 2), 300)}, model_taking("uint8[N,2] x"))
    with pytest.raises(DataError, match="300 to 300 do not fit into uint8"):
        narrow.read([0])


def test_lengths_must_agree():
    with pytest.raises(DataError, match="'a' has 5, 'b' has 4") as caught:
        open_data({"a": numbers(5, 2), "b": numbers(4, 2)}, model_taking("float[N,2] a", "float[N,2] b"))
    assert caught.value.code == "DATA-LENGTH"


def test_samples_are_a_seeded_choice():
    model = model_taking("float[N] x")
    chosen = [everything(open_data({"x": numbers(100)}, model, samples=10, seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert len(set(chosen[0])) == 10
    assert not np.array_equal(chosen[0], chosen[2])
    assert len(open_data({"x": numbers(7)}, model, samples=10)) == 7
    with pytest.raises(UsageError, match="--samples 0"):
        open_data({"x": numbers(7)}, model, samples=0)


def test_no_samples_no_file_no_known_kind(tmp_path):
    model = model_taking("float[N] x")
    with pytest.raises(DataError, match="0 samples"):
        open_data({"x": numbers(0)}, model)
    with pytest.raises(DataError, match="no such file") as caught:
        open_data(tmp_path / "absent.npz", model)
    assert caught.value.code == "DATA-MISSING"
    (tmp_path / "table.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"\.csv is no kind of data") as caught:
        open_data(tmp_path / "table.csv", model)
    assert "file.py:function" in caught.value.hint
    with pytest.raises(UsageError, match="cannot use a int as data"):
        open_data(3, model)


def test_mapping_text_and_mistakes_in_it():
    assert parse_mapping(["x=x_train", "labels=y_train"]) == {"x": "x_train", "labels": "y_train"}
    with pytest.raises(UsageError, match="--map x names no pair"):
        parse_mapping(["x"])
    model = model_taking("float[N] x")
    with pytest.raises(UsageError, match="the model has no input 'z'") as caught:
        open_data({"x": numbers(3)}, model, mapping={"z": "x"})
    assert caught.value.hint == "Its inputs are: x."
    with pytest.raises(UsageError, match="the data has no key 'q'"):
        open_data({"x": numbers(3)}, model, mapping={"x": "q"})


def test_the_fingerprint_follows_samples_and_preprocessing():
    model = model_taking("float[N,2] x")
    prints = {
        open_data({"x": numbers(5, 2)}, model).fingerprint(),
        open_data({"x": numbers(5, 2) + 1}, model).fingerprint(),
        open_data({"x": numbers(5, 2)}, model, scale=2.0).fingerprint(),
        open_data({"x": numbers(5, 2)}, model, samples=3).fingerprint(),
    }
    assert len(prints) == 4
    assert open_data({"x": numbers(5, 2)}, model).fingerprint() in prints


def test_a_split_holds_out_a_fifth_and_loses_nothing():
    source = open_data({"x": numbers(50)}, model_taking("float[N] x"))
    rest, held = source.split(0.2, seed=3)
    assert (len(rest), len(held)) == (40, 10)
    together = np.concatenate([everything(rest), everything(held)])
    np.testing.assert_array_equal(np.sort(together), numbers(50))


def test_a_source_passes_through():
    own = ArraySource({"x": numbers(5)})
    assert open_data(own, model_taking("float[N] x")) is own
    assert len(open_data(own, model_taking("float[N] x"), samples=2)) == 2


def test_indices_outside_are_an_error_not_the_last_sample():
    with pytest.raises(IndexError, match="0 to 4"):
        open_data({"x": numbers(5)}, model_taking("float[N] x")).read([-1])
