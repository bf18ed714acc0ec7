"""Every public name is there, is documented, and is what the package says it is."""

from __future__ import annotations

import importlib
import inspect
from importlib import metadata, resources
from pathlib import Path

import pytest

import onnxcompress


@pytest.mark.parametrize("name", [n for n in onnxcompress.__all__ if not n.startswith("__")])
def test_public_name(name):
    thing = getattr(onnxcompress, name)
    assert inspect.getdoc(thing), "a public name has a docstring"
    assert thing.__name__ == name
    assert name in dir(onnxcompress)


def test_unknown_names_fail_like_any_modules():
    with pytest.raises(AttributeError, match="no attribute 'compress'"):
        _ = onnxcompress.compress


def test_a_function_is_not_hidden_by_the_room_of_its_name():
    """Importing onnxcompress.distill would put the sub-package where the function was."""
    importlib.import_module("onnxcompress.distill")
    assert callable(onnxcompress.distill)
    rooms = {path.stem for path in Path(onnxcompress.__file__).parent.iterdir()}
    assert rooms & set(onnxcompress.__all__) == {"distill"}, "another name needs the same care"


def test_all_is_sorted_and_lazy_names_are_in_it():
    assert onnxcompress.__all__ == sorted(onnxcompress.__all__)
    assert set(onnxcompress._HOMES) <= set(onnxcompress.__all__)


def test_version_and_types_ship_with_the_package():
    assert metadata.version("onnxcompress") == onnxcompress.__version__
    assert resources.files("onnxcompress").joinpath("py.typed").is_file()
