"""Quantization with Q/DQ nodes: where they go, which scales they carry, what they cost, and what became of them."""
