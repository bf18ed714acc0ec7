"""Data and metrics that come from Python: iterables, loaders, scripts."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from builders.data_models import model_taking

from onnxcompress.data import load_metric, open_data
from onnxcompress.errors import DataError, UsageError

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)
MODEL = "float[N,4] x"


def everything(source, name="x"):
    return source.read(np.arange(len(source)))[name]


@pytest.mark.parametrize(
    "data",
    [
        {"x": ROWS},
        {"x": ROWS.tolist()},
        ROWS,
        [{"x": row} for row in ROWS],
        [{"x": ROWS[:4]}, {"x": ROWS[4:]}],
        ({"x": row} for row in ROWS),
        list(ROWS),
        [(row, 1) for row in ROWS],
    ],
    ids=["dict", "dict of lists", "array", "dicts", "batches", "generator", "arrays", "tuples"],
)
def test_the_usual_shapes_of_python_data(data):
    source = open_data(data, model_taking(MODEL))
    for _ in range(2):
        np.testing.assert_array_equal(everything(source), ROWS)


def test_tuples_carry_inputs_in_order_then_labels():
    model = model_taking("float[N,4] a", "float[N,4] b")
    source = open_data([(row, row + 1, index) for index, row in enumerate(ROWS)], model)
    np.testing.assert_array_equal(everything(source, "b"), ROWS + 1)
    np.testing.assert_array_equal(source.labels([2]), [2])


def test_a_torch_loader_and_dataset():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.from_numpy(ROWS), torch.arange(6))
    for data in (dataset, DataLoader(dataset, batch_size=4)):
        source = open_data(data, model_taking(MODEL))
        np.testing.assert_array_equal(everything(source), ROWS)
        np.testing.assert_array_equal(source.labels([5, 1]), [5, 1])
    brain = open_data([{"x": torch.ones(4, dtype=torch.bfloat16)}], model_taking(MODEL))
    np.testing.assert_array_equal(everything(brain), np.ones((1, 4)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([{"x": ROWS[0]}, {"z": ROWS[0]}], "has the keys ['z'], and the items before have ['x']"),
        ([(ROWS[0], 1, 2)], "it has 3 elements, and the model has 1 inputs"),
        ([{"x": [[1], [2, 3]]}], "inhomogeneous"),
        ([{"x": {1: 2}}], "no array of numbers"),
        ([ROWS[0], ROWS[:, :2]], "do not have one rank"),
        ([], "0 samples"),
    ],
)
def test_odd_items_are_named(data, words):
    with pytest.raises(DataError) as caught:
        open_data(data, model_taking(MODEL))
    assert words in str(caught.value)


def test_an_endless_iterable_stops_at_the_cap(monkeypatch):
    from onnxcompress.data import iterables

    monkeypatch.setattr(iterables, "MAX_KEPT", 1 << 10)
    with pytest.raises(DataError, match="too large to keep"):
        open_data(({"x": ROWS[0]} for _ in iter(int, 1)), model_taking(MODEL))


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\nimport numpy as np\n"
        "@dataclasses.dataclass\nclass Row:\n    x: int = 0\n"
        "def rows():\n    return ({'x': np.full(4, i, np.float32), 'labels': i} for i in range(3))\n"
        "def broken():\n    raise RuntimeError('no disk')\n"
        "def accuracy(outputs, labels):\n    return (outputs['y'] == labels).mean()\n"
        "def several(outputs, labels):\n    return {'a': 1, 'b': np.float32(len(labels))}\n"
        "def nothing(outputs, labels):\n    return float('nan')\n"
        "number = 3\n"
        "accuracy.counted = lambda labels: (labels == 1).sum()\n"
        "nothing.counted = lambda labels: labels['y']\n"
    )
    return path


def test_a_script_gives_data_and_says_that_it_runs(script, caplog):
    with caplog.at_level(logging.WARNING):
        source = open_data(f"{script}:rows", model_taking(MODEL))
    assert "running the code of mine.py" in caplog.text
    np.testing.assert_array_equal(everything(source)[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(source.labels([2]), [2])


def test_script_mistakes(script, tmp_path):
    model = model_taking(MODEL)
    (tmp_path / "bad.py").write_text("1 / 0\n")
    cases = {
        f"{script}:absent": "has no function 'absent'",
        f"{script}:number": "has no function 'number'",
        f"{tmp_path / 'bad.py'}:f": "ZeroDivisionError",
        f"{tmp_path / 'none.py'}:f": "there is no file",
        f"{script}:broken": "RuntimeError: no disk",
    }
    for spec, words in cases.items():
        with pytest.raises((UsageError, DataError)) as caught:
            open_data(spec, model)
        assert words in str(caught.value)


def test_a_metric(script):
    metric = load_metric(f"{script}:accuracy")
    assert metric({"y": np.array([1, 2])}, np.array([1, 3])) == 0.5
    assert load_metric(f"{script}:several")({}, np.array([1, 3])) == {"a": 1.0, "b": 2.0}
    with pytest.raises(DataError, match="KeyError") as caught:
        metric({}, np.array([1]))
    assert caught.value.code == "DATA-METRIC"
    with pytest.raises(DataError, match="it gave nan"):
        load_metric(f"{script}:nothing")({}, np.array([1]))
    with pytest.raises(UsageError, match="does not name a function"):
        load_metric("accuracy")


def test_a_metric_says_how_many_samples_it_counts(script):
    labels = np.array([0, 1, 1])
    assert load_metric(f"{script}:accuracy").counted(labels) == 2
    assert load_metric(f"{script}:broken").counted(labels) is None
    with pytest.raises(DataError, match="IndexError") as caught:
        load_metric(f"{script}:nothing").counted(labels)
    assert caught.value.code == "DATA-METRIC"
