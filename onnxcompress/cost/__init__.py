"""What a model costs: parameters, multiply-accumulates, bytes, nodes."""

from onnxcompress.cost.count import Costs, costs, node_label, parameters, size_bytes, weights

__all__ = ["Costs", "costs", "node_label", "parameters", "size_bytes", "weights"]
