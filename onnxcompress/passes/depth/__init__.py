"""Depth: residual branches that may fall away whole, what each of them is worth, and their removal.

For y = u + f(u) the branch f goes and y = u + E[f(u)] stays: a model of fewer layers with the same interface.
"""
