"""Distillation: a student's graph is rebuilt in torch, trained to imitate its teacher, and written back by name.

The only room that imports torch. `bridge` rebuilds the graph, `weights` says what may be trained, `trainer` trains,
`write_back` puts the numbers into the model; nothing is re-exported, so the graph stays the same node for node.
"""

from onnxcompress.distill.custom_ops import CustomOp, load_ops, op

__all__ = ["CustomOp", "load_ops", "op"]
