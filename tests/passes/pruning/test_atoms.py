from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxcompress.passes.pruning.atoms import Atoms

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(PAIRS)
def test_classes_are_those_of_the_textbook_algorithm(pairs):
    atoms = Atoms()
    atoms.fresh(20)
    owner = list(range(20))
    for a, b in pairs:
        atoms.unify(np.array([a]), np.array([b]))
        owner = [owner[a] if o == owner[b] else o for o in owner]
    roots = atoms.roots(np.arange(20))
    assert all((roots[i] == roots[j]) == (owner[i] == owner[j]) for i in range(20) for j in range(20))


def test_lists_with_repeats_unify_at_once():
    atoms = Atoms()
    a, b = atoms.fresh(3), atoms.fresh(3)
    atoms.unify(np.concatenate([a, a]), np.concatenate([b, b[::-1]]))
    assert len(set(atoms.roots(np.concatenate([a, b])).tolist())) == 2


def test_a_frozen_member_freezes_its_class_and_the_first_reason_counts():
    atoms = Atoms()
    a, b = atoms.fresh(4), atoms.fresh(4)
    atoms.freeze(b[1:2], "FIRST", "n", "because")
    atoms.freeze(b[:2], "SECOND", "m", "also")
    atoms.unify(a, b)
    assert atoms.frozen()[:4].tolist() == [True, True, False, False]
    reasons = atoms.reasons()
    assert reasons[int(atoms.roots(a[1:2])[0])].code == "FIRST"
    assert reasons[int(atoms.roots(a[:1])[0])].code == "SECOND"
