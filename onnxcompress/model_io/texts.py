"""Refuse names and texts that are no UTF-8: protobuf hands them out as bytes, and nothing after it expects that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxcompress.errors import ModelError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

_STRING, _MESSAGE = 9, 11  # FieldDescriptor.TYPE_STRING, TYPE_MESSAGE


def check_texts(proto: onnx.ModelProto, what: str) -> None:
    """Refuse a model with a text field that is no UTF-8; attribute values and string tensors may hold any bytes.

    Raises:
        ModelError: MODEL-TEXT.
    """
    found = _broken_text(proto)
    if found is not None:
        raise ModelError(
            what,
            where=found[0],
            why=f"its text {found[1][:40]!r} is not UTF-8, so the file is damaged",
            hint="Copy or export the model again.",
            code="MODEL-TEXT",
        )


def _broken_text(root: Message) -> tuple[str, bytes] | None:
    """Field and content of the first broken text, or None."""
    from google.protobuf.message import Message

    stack: list[Message] = [root]
    while stack:
        message = stack.pop()
        for field, value in _fields(message):
            if field.type == _MESSAGE:
                stack.extend([value] if isinstance(value, Message) else value)
            elif field.type == _STRING:
                texts = [value] if isinstance(value, (str, bytes)) else value
                broken = next((text for text in texts if isinstance(text, bytes)), None)
                if broken is not None:
                    return f"field {field.full_name}", broken
    return None


def _fields(message: Message) -> Sequence[tuple[Any, Any]]:
    """The fields that are set; of a tensor only those that are cheap to read."""
    if message.DESCRIPTOR.name != "TensorProto":
        return message.ListFields()
    named = message.DESCRIPTOR.fields_by_name
    texts = ("name", "doc_string", "external_data", "metadata_props")
    return [(named[name], getattr(message, name)) for name in texts]
