"""Structured pruning: which slices of which tensors live and die together, and how to cut them out.

Every axis of every tensor carries a list of atoms (channel identities). Arithmetic unifies atoms (`atoms`, `rules_*`),
movement is traced by running the op on labelled index arrays (`movement`), classes of unified atoms are removed whole
(`surgery`), and the result is held to the original with those slices zeroed (`oracles`).
"""
