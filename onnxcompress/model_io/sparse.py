"""Make sparse initializers dense: onnx_ir would drop them without a word."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError, ResourceError
from onnxcompress.model_io.guard import check_tensor, dtype_bits
from onnxcompress.model_io.walk import places

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from onnxcompress.model_io.external import DataFolder
    from onnxcompress.report.records import Finding


def densify(proto: onnx.ModelProto, what: str, folder: DataFolder) -> list[Finding]:
    """Replace every sparse initializer by a dense one of the same name, in place.

    Args:
        proto: The model as parsed; its sparse initializers are moved.
        what: First clause of a message.
        folder: Where external data is looked for; its limits cap the dense size.

    Returns:
        One finding for each tensor that was made dense.

    Raises:
        ModelError: Where indices are out of range or the type cannot be made dense.
        ResourceError: Where the dense form would be larger than the limit.
    """
    from onnx import GraphProto

    from onnxcompress.report.records import Finding

    findings: list[Finding] = []
    left = folder.limits.max_densified_bytes
    for place in places(proto):
        if not isinstance(place.body, GraphProto):
            continue
        for sparse in place.body.sparse_initializer:
            where = place.of(f"sparse initializer {sparse.values.name}")
            left -= _dense_bytes(sparse, what, where, left)
            check_tensor(sparse.values, what, where, folder)
            check_tensor(sparse.indices, what, where, folder)
            place.body.initializer.append(_dense(sparse, what, where))
            message = f"{sparse.values.name} was sparse; it is stored dense from here on"
            findings.append(Finding("LOAD-SPARSE-DENSIFIED", message, node=sparse.values.name))
        del place.body.sparse_initializer[:]
    return findings


def _dense_bytes(sparse: onnx.SparseTensorProto, what: str, where: str, left: int) -> int:
    bits = dtype_bits(sparse.values.data_type)
    if not bits or bits < 8:
        raise _refusal(what, where, f"sparse data of type {sparse.values.data_type} is not supported")
    if any(dim < 0 for dim in sparse.dims):
        raise _refusal(what, where, f"its dims are {list(sparse.dims)}")
    if sparse.values.data_location or sparse.indices.data_location:
        raise _refusal(what, where, "sparse data that lies in an external file is not supported")
    size = math.prod(sparse.dims) * bits // 8
    if size > left:
        raise ResourceError(
            what,
            where=where,
            why=f"made dense it would take {size:,} bytes, more than the {left:,} left of the limit",
            hint="Raise Limits.max_densified_bytes if the model is to be trusted and the memory is there.",
            code="MODEL-SPARSE-TOO-LARGE",
        )
    return size


def _dense(sparse: onnx.SparseTensorProto, what: str, where: str) -> onnx.TensorProto:
    import numpy as np
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    values = to_array(sparse.values).reshape(-1)
    flat = _flat_indices(sparse, to_array(sparse.indices), what, where)
    if flat.size != values.size:
        raise _refusal(what, where, f"{values.size} values come with {flat.size} indices")
    dense = np.zeros(math.prod(sparse.dims), dtype=values.dtype)
    dense[flat] = values
    result = TensorProto()
    result.CopyFrom(sparse.values)
    for field in ("dims", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        result.ClearField(field)
    result.dims.extend(sparse.dims)
    result.raw_data = dense.astype(dense.dtype.newbyteorder("<"), copy=False).tobytes()
    return result


def _flat_indices(sparse: onnx.SparseTensorProto, indices: np.ndarray, what: str, where: str) -> np.ndarray:
    """Row-major positions: ONNX gives them either so, or as one row of coordinates an element."""
    import numpy as np

    dims = tuple(sparse.dims)
    if indices.ndim == 1:
        limits, found = np.array([math.prod(dims)]), indices.reshape(-1, 1)
    elif indices.ndim == 2 and indices.shape[1] == len(dims):
        limits, found = np.array(dims), indices
    else:
        raise _refusal(what, where, f"indices of shape {indices.shape} do not fit dims {list(dims)}")
    if ((found < 0) | (found >= limits)).any():
        raise _refusal(what, where, "an index lies outside the dims")
    return found[:, 0] if indices.ndim == 1 else np.ravel_multi_index(tuple(found.T), dims)


def _refusal(what: str, where: str, why: str) -> ModelError:
    return ModelError(what, where=where, why=why, hint="Store the tensor as a dense initializer.", code="MODEL-SPARSE")
