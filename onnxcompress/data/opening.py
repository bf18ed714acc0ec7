"""`open_data`: any kind of data that a user may have, as a `DataSource` that fits the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.data.binding import Bound, bind, bind_labels, constant, count_samples, is_number, resolve_keys
from onnxcompress.data.canonical import canonical
from onnxcompress.data.columns import Column
from onnxcompress.data.fit import Plan, channel_axis
from onnxcompress.data.fitted import Feed, FittedSource
from onnxcompress.data.folder import CLASS_KEY, list_files, read_array_folder
from onnxcompress.data.images import RESIZES, image_column
from onnxcompress.data.inputs import InputSpec, input_specs
from onnxcompress.data.iterables import read_iterable, read_mapping, to_numpy
from onnxcompress.data.noise import is_noise_spec, make_noise
from onnxcompress.data.npz import read_npy, read_npz
from onnxcompress.data.preprocess import Preprocess, make_preprocess
from onnxcompress.data.scripts import call_script, is_script
from onnxcompress.data.source import DataSource
from onnxcompress.data.stored import Stored, Table, looks_like_labels, of_array
from onnxcompress.data.tensors import read_safetensors
from onnxcompress.errors import DataError, UsageError

Numbers = float | Sequence[float]


@dataclass(frozen=True)
class _Options:
    mapping: Mapping[str, str]
    labels: str | Stored | None
    preprocess: Preprocess
    layout: str
    resize: str
    size: tuple[int, int] | None


def open_data(
    spec: Any,
    model: ir.Model,
    *,
    mapping: Mapping[str, str] | None = None,
    labels: str | np.ndarray | None = None,
    preset: str | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    scale: float | str | None = None,
    layout: str = "auto",
    channel_order: str | None = None,
    resize: str = "crop",
    size: tuple[int, int] | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> DataSource:
    """The samples behind `spec`, as `model` takes them; nothing is converted before it is read.

    Mean, std, scale and channel order are for the first input and for every other one of the same dims. They also
    apply to arrays, where a uint8 array with a mean or a std is scaled by 1/255 unless `scale` says otherwise.

    Args:
        spec: A path (.npz, .npy, .safetensors, a folder of .npy, of .npz or of pictures), ``file.py:function``,
            ``random:N``, a dict of arrays, an iterable of dicts, tuples or arrays, a torch DataLoader, or a DataSource
            (returned as it is).
        model: Its inputs say which names, sizes and types are needed.
        mapping: Key of the data by input name, where they differ; a number instead of a key feeds that constant;
            ``labels`` names the labels.
        labels: Key of the labels, a .npy file of their own, or an array; by default the key that goes with the samples
            (``y_train`` with ``x_train``).
        preset: A name out of `PRESETS`; the options below override parts of it.
        mean: Subtracted after scaling, one number or one a channel.
        std: Divisor after that.
        scale: Factor on the stored numbers, also as text ``1/255``.
        layout: Layout of stored arrays of pictures (``nchw``, ``nhwc``); for a folder of pictures, of the model.
        channel_order: ``rgb`` or ``bgr``, as the model wants it.
        resize: ``crop`` (shorter side, then centre) or ``stretch``; for a folder of pictures.
        size: (height, width) where the model leaves the size of its pictures open.
        samples: Use this many, chosen by `seed` and by what they hold, not by where they lie; all by default.
        seed: Seed of that choice.

    Raises:
        UsageError: An option that has no meaning here.
        DataError: Data that is missing, damaged, or does not fit the model.
    """
    if isinstance(spec, DataSource):
        return _choose(spec, samples, seed)
    named = dict(mapping or {})
    specs = input_specs(model)
    if "labels" in named and "labels" not in [s.name for s in specs]:
        labels = named.pop("labels")
    preprocess = make_preprocess(preset, mean=mean, std=std, scale=scale, channel_order=channel_order)
    if resize not in RESIZES:
        raise UsageError(f"unknown resize {resize!r}", hint="Use crop or stretch.", code="USAGE-RESIZE")
    options = _Options(named, _label_array(labels), preprocess, layout, resize, size)
    if not specs:
        raise DataError("the model takes no data", why="it has no inputs", hint="Drop --data.", code="DATA-NO-INPUTS")
    return _choose(_open(spec, specs, options), samples, seed)


def _choose(source: DataSource, samples: int | None, seed: int) -> DataSource:
    if len(source) == 0:
        raise DataError("the data holds 0 samples", hint="Give at least one.", code="DATA-EMPTY")
    if samples is None or samples >= len(source):
        return source
    if samples < 1:
        raise UsageError(f"--samples {samples} leaves nothing", hint="Give at least 1.", code="USAGE-SAMPLES")
    return canonical(source).draw(samples, seed=seed)


def _open(spec: Any, specs: list[InputSpec], options: _Options) -> DataSource:
    if isinstance(spec, str | os.PathLike):
        return _open_path(os.fspath(spec), specs, options)
    if isinstance(spec, DataSource):
        return spec
    if isinstance(spec, np.ndarray) or hasattr(spec, "detach"):
        return _assemble(read_mapping({"": to_numpy(spec)}), specs, options, "the array")
    if isinstance(spec, Mapping):
        return _assemble(read_mapping(spec), specs, options, "the dict")
    if isinstance(spec, Iterable) or hasattr(spec, "__getitem__"):
        table = read_iterable(spec, [s.name for s in specs])
        return _assemble(table, specs, options, "the iterable")
    raise UsageError(
        f"cannot use a {type(spec).__name__} as data",
        hint="Give a path, a dict of arrays, an iterable of dicts, a DataLoader or a DataSource.",
        code="USAGE-DATA",
    )


def _open_path(text: str, specs: list[InputSpec], options: _Options) -> DataSource:
    if is_script(text):
        return _open(call_script(text), specs, options)
    if is_noise_spec(text):
        return make_noise(text, specs)
    path = Path(text).absolute()
    if not path.exists():
        raise DataError(
            f"cannot open the data {text}", why="there is no such file", hint="Check the path.", code="DATA-MISSING"
        )
    if path.is_dir():
        return _open_folder(path, specs, options)
    readers = {".npz": read_npz, ".npy": read_npy, ".safetensors": read_safetensors}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"cannot read {path.name}",
            why=f"{path.suffix or 'a file without a suffix'} is no kind of data known here",
            hint="Use .npz, .npy, .safetensors, a folder, or --data file.py:function for anything else.",
            code="DATA-KIND",
        )
    return _assemble(readers[path.suffix.lower()](path), specs, options, path.name)


def _open_folder(folder: Path, specs: list[InputSpec], options: _Options) -> DataSource:
    files, classes, kind = list_files(folder)
    if kind != "picture":
        return _assemble(read_array_folder(files, classes, kind), specs, options, folder.name)
    spec = next((s for s in specs if len(s.sample_dims or ()) == 3), specs[0])
    column = image_column(files, spec, layout=options.layout, resize=options.resize, size=options.size)
    pictures = _feed(spec, Bound(column, Plan(), spec), spec, options)
    others = [_constant_beside(s, options, column.length) for s in specs if s is not spec]
    table: Table = {} if classes is None else {CLASS_KEY: of_array(classes)}
    labels = bind_labels(table, _known(options.labels, table), "", set(), column.length)
    return FittedSource([pictures, *others], labels)


def _constant_beside(spec: InputSpec, options: _Options, length: int) -> Feed:
    text = options.mapping.get(spec.name, "")
    if not is_number(text):
        raise DataError(
            "a folder of pictures feeds one input",
            where=f"input {spec}",
            why="nothing feeds this one",
            hint=f"Say that it is constant, --map {spec.name}=0, or save all inputs as npz.",
            code="DATA-MISSING-INPUT",
        )
    bound = constant(text, spec, length)
    return Feed(spec, bound.column, bound.plan, Preprocess(), None)


def _assemble(table: Table, specs: list[InputSpec], options: _Options, where: str) -> DataSource:
    keys = resolve_keys(table, specs, options.mapping)
    length = count_samples(table, keys, specs)
    stored = {s.name: table[keys[s.name]] for s in specs if keys[s.name] in table}
    bounds: dict[str, Bound] = {}
    for spec in sorted(specs, key=lambda s: s.batch_axis != 0):  # those that count samples first
        if spec.name in stored:
            place = f"{where}, key {keys[spec.name]!r}" if keys[spec.name] else where
            bounds[spec.name] = bind(stored[spec.name], spec, length, layout=options.layout, where=place)
            length = length or bounds[spec.name].column.length
    for spec in specs:
        if spec.name not in bounds:
            bounds[spec.name] = constant(keys[spec.name], spec, length or 1)
    total = _one_length({name: bound.column for name, bound in bounds.items()})
    feeds = [_feed(spec, bounds[spec.name], specs[0], options) for spec in specs]
    main = next((keys[s.name] for s in specs if s.name in stored and not looks_like_labels(keys[s.name])), "")
    return FittedSource(feeds, bind_labels(table, _known(options.labels, table), main, set(keys.values()), total))


def _label_array(labels: str | np.ndarray | None) -> str | Stored | None:
    if isinstance(labels, str) and labels.endswith(".npy") and Path(labels).is_file():
        return next(iter(read_npy(Path(labels).absolute()).values()))
    return of_array(to_numpy(labels)) if labels is not None and not isinstance(labels, str) else labels


def _known(labels: str | Stored | None, table: Table) -> str | Stored | None:
    if isinstance(labels, str) and labels not in table:
        raise UsageError(
            f"--labels {labels}: the data has no key {labels!r}",
            hint=f"Its keys are: {', '.join(filter(None, table)) or '(none)'}; or give a .npy file.",
            code="USAGE-MAP",
        )
    return labels


def _one_length(columns: Mapping[str, Column]) -> int:
    lengths = {name: column.length for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {count}" for name, count in lengths.items())
        raise DataError(
            "the inputs do not have one number of samples",
            why=told,
            hint="Give every input one array with the same first axis.",
            code="DATA-LENGTH",
        )
    return next(iter(lengths.values()))


def _feed(spec: InputSpec, bound: Bound, first: InputSpec, options: _Options) -> Feed:
    wanted = options.preprocess if spec is first or spec.dims == first.dims else Preprocess()
    kind, target = bound.column.dtype, spec.dtype
    if not _castable(kind, target):
        raise DataError(
            "the data does not fit the model",
            where=f"input {spec}",
            why=f"the data is {kind}, and the input takes {target}",
            hint=f"Save the array as {target}, or choose another one with --map {spec.name}=KEY.",
            code="DATA-DTYPE",
        )
    if not wanted.is_identity and not _is_float(target):
        raise UsageError(
            f"mean, std and scale have no meaning for the {target} input {spec.name!r}",
            hint="Drop them: the model takes the stored integers.",
            code="USAGE-NORMALISE",
        )
    axis = _axis_for(wanted, bound, bound.spec)
    return Feed(bound.spec, bound.column, bound.plan, wanted, axis)


def _axis_for(preprocess: Preprocess, bound: Bound, spec: InputSpec) -> int | None:
    shape = bound.plan.shape(bound.column.sample_shape)
    axis = channel_axis(spec.sample_dims)
    counts = {len(numbers) for numbers in (preprocess.mean, preprocess.std) if len(numbers) > 1}
    if not counts:
        return None if axis is None else axis + 1
    count = max(counts)
    ends = [a for a in (axis, len(shape) - 1) if a is not None and 0 <= a < len(shape) and shape[a] == count]
    if len(counts) > 1 or not ends:
        raise UsageError(
            f"mean or std has {count} numbers",
            where=f"input {spec}",
            why="no channel axis of that size is there",
            hint="Give one number, or one a channel of the model's input.",
            code="USAGE-NORMALISE",
        )
    return ends[0] + 1


def _is_float(dtype: np.dtype) -> bool:
    return np.issubdtype(dtype, np.floating) or dtype.name.startswith(("bfloat", "float"))


def _castable(stored: np.dtype, target: np.dtype) -> bool:
    if target.hasobject:
        return stored.kind in "USO"
    if stored.kind in "USOcmMV" and not _is_float(stored):
        return False
    if _is_float(target):
        return True
    return stored.kind in "iub" if target.kind in "iu" else stored.kind == "b"
