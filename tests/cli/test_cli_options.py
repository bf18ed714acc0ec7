from __future__ import annotations

from pathlib import Path

import pytest

from onnxcompress.cli.options import DataFlags, MachineFlags, RuntimeFlags, numbers, pairs
from onnxcompress.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:1x3x224x224", {"x": (1, 3, 224, 224)}),
        ("x:1,3,224", {"x": (1, 3, 224)}),
        ("input:0:7", {"input:0": (7,)}),
    ],
)
def test_shapes(text: str, expected: dict[str, tuple[int, ...]]) -> None:
    assert RuntimeFlags(shape=(text,)).shapes() == expected


@pytest.mark.parametrize("text", ["x", "x:", ":1x3", "x:1xa", "x:0x3", "x:-1x3", "x:1.5"])
def test_a_wrong_shape_says_how_to_write_it(text: str) -> None:
    with pytest.raises(UsageError, match="--shape x:1x3x224x224"):
        RuntimeFlags(shape=(text,)).shapes()


def test_pairs_and_numbers() -> None:
    assert pairs(("a=b", "c=d=e"), "--map") == {"a": "b", "c": "d=e"}
    assert numbers("0.5, 1", "--mean") == (0.5, 1.0)
    assert numbers(None, "--mean") is None
    with pytest.raises(UsageError, match="--map KEY=VALUE"):
        pairs(("ab",), "--map")
    with pytest.raises(UsageError, match="no list of numbers"):
        numbers("0.5;1", "--mean")


def test_data_flags_become_data_options_without_those_not_given() -> None:
    flags = DataFlags(data="a.npz", map=("x=x_train",), mean="0.5", scale="1/255", samples=7, size="32x64")
    options = flags.options()
    assert (options.spec, options.eval_spec) == ("a.npz", None)
    assert options.settings == {
        "mapping": {"x": "x_train"},
        "mean": (0.5,),
        "scale": "1/255",
        "size": (32, 64),
        "samples": 7,
    }
    with pytest.raises(UsageError, match="224x224"):
        DataFlags(size="32").options()


def test_providers_by_short_and_by_full_name() -> None:
    options = RuntimeFlags(provider=("cuda", "CPUExecutionProvider"), threads=2, custom_ops=(Path("a.so"),)).options()
    assert options.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (options.threads, options.custom_ops) == (2, (Path("a.so"),))
    assert RuntimeFlags().options().providers == ("CPUExecutionProvider",)


def test_what_would_be_ignored_in_silence_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no --eval-data"):
        DataFlags(data="a.npz", eval_map=("x=x_test",)).options()
    with pytest.raises(UsageError, match="--threads -1 is no number of threads"):
        RuntimeFlags(threads=-1).options()


@pytest.mark.parametrize(
    ("text", "size"), [("500M", 500 << 20), ("2G", 2 << 30), ("1.5g", 3 << 29), ("4194304", 4 << 20)]
)
def test_memory_is_a_size(text, size):
    assert MachineFlags(memory=text).memory_bytes() == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "12", "nanG", "1e400", "G"])
def test_memory_that_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="--memory"):
        MachineFlags(memory=text).memory_bytes()
