"""Permutation test: channels that nothing tells apart trade places, everywhere at once; no output may move.

The algebra: atoms of one class, in the order of their numbers, are its members. Classes A and B may trade places iff
their signatures are equal (`slots`): their members were born in the same constants, met each other in the same way and
stand in the same rows of statistics and divided lists. Then exchanging member i of A with member i of B in every
constant is a renaming, and the model computes what it did. Nothing is removed, so that norms and softmaxes see the same
numbers: the test finds wrong index maps without any masked reference.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.oracles.rewriting import Rewritten
from onnxcompress.passes.pruning.slots import signatures
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import Trace, Use

_NONE = np.zeros(0, np.int64)


def permuted(cut: Cut, seed: int) -> tuple[ir.Model, set[str]] | None:
    """A copy of the traced model in which channels have traded places, and the names of the tensors that show it.

    None where there is no pair that may.
    """
    found = cut.found
    content = contents(found, seed)
    if np.array_equal(content, np.arange(len(content))):
        return None
    copy = Rewritten(found, cut.names)
    copy.edit(lambda use, numbers: _reordered(use, numbers, content))
    showing = _showing(found, content)
    lists = {value.name or "": [ids for ids in labels if ids is not None] for value, labels in found.labels.items()}
    return copy.model, {name for name, each in lists.items() if any(showing[ids].any() for ids in each)}


def _showing(found: Trace, content: Ids) -> np.ndarray:
    """One bool an atom: True where a tensor with that atom shows that something moved.

    Where channels trade places inside the rows of a divided axis, its slots stay, but what they hold is another.
    """
    moved, roots = content != np.arange(len(content)), found.atoms.roots
    stirred = np.zeros(len(content), bool)
    for product in found.products:
        stirred[roots(product.factors[:, moved[product.whole]].ravel())] = True
    for split in found.splits:
        if moved[split.ids].any():
            stirred[roots(np.concatenate([_NONE, *split.lists]))] = True
    return moved | stirred[roots(np.arange(len(content)))]


def contents(found: Trace, seed: int) -> Ids:
    """For each atom the one that stands in its place afterwards."""
    everyone = np.arange(len(found.atoms))
    roots, result = found.atoms.roots(everyone), everyone.copy()
    members = np.argsort(roots, kind="stable")
    starts = np.searchsorted(roots[members], everyone)
    sizes = np.bincount(roots, minlength=len(everyone))
    signs, free = signatures(found), _movable(found)
    rng = np.random.Generator(np.random.PCG64(seed))
    free = free[signs[free] != 0]
    order = free[np.argsort(signs[free], kind="stable")]
    for group in np.split(order, np.flatnonzero(np.diff(signs[order])) + 1):
        if len(group) > 1:
            others = rng.permutation(group)
            others = np.roll(group, 1) if np.array_equal(others, group) else others
            steps = np.arange(int(sizes[group[0]]))
            result[members[starts[group][:, None] + steps]] = members[starts[others][:, None] + steps]
    return result


def _movable(found: Trace) -> Ids:
    """Classes of channels that some node makes and nothing holds, and that no other axis is made of.

    Channels of a divided axis move inside their rows (their signature tells the rows apart), the slots stay.
    """
    roots = found.atoms.roots
    still = [ids for value in found.model.graph.outputs for ids in found.labels.get(value, []) if ids is not None]
    still += [product.factors.ravel() for product in found.products]
    divided = np.unique(np.concatenate([_NONE, *(split.ids.ravel() for split in found.splits)]))
    still += [product.whole for product in found.products if not np.isin(product.whole, divided).all()]
    made = np.unique(roots(np.concatenate([_NONE, *(p.ids for p in found.producers)])))
    made = made[~found.atoms.frozen()[made]]
    return np.setdiff1d(made, roots(np.concatenate([_NONE, *still])))


def _reordered(use: Use, numbers: np.ndarray, content: Ids) -> np.ndarray:
    result = numbers
    for axis, ids in enumerate(use.labels):
        if ids is not None and not np.array_equal(content[ids], ids):
            result = result.take(content[ids] - ids[0], axis=axis)
    for axis, ids in use.blocks.items():
        if not np.array_equal(content[ids], ids):
            length = numbers.shape[axis]
            places = ((content[ids] - ids[0]) % length).reshape(-1, length)
            rows = np.repeat(places, numbers.shape[0] // len(places), axis=0)
            shape = [n if a in (0, axis) else 1 for a, n in enumerate(numbers.shape)]
            result = np.take_along_axis(result, rows.reshape(shape), axis=axis)
    return result
