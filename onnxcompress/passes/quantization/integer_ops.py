"""Operators that compute on integers, or on weights packed as such, and are no Q/DQ nodes."""

INTEGER_OPS = (
    "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearAdd", "QLinearMul",
    "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid",
    "QLinearSoftmax", "QLinearWhere", "QGemm", "QAttention", "QEmbedLayerNormalization", "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM", "MatMulIntegerToFloat", "MatMulNBits",
)  # fmt: skip
