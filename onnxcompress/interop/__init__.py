"""Bridges to other tools: onnx-graphsurgeon scripts as passes, and TensorRT's command line."""
