"""Where torch computes: the processor, or a CUDA device where torch sees one.

The device is torch's default while a distillation runs, so what is made on the way (weights, constants, batches, masks,
parameters of the loss) lies there. On the processor nothing is set: torch asks for the default at every call.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import torch

from onnxcompress.errors import UsageError

_CODE = "USAGE-DEVICE"


def device_for(asked: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``; of several, each process of a machine takes the next.

    Raises:
        UsageError: Where there is none of that kind.
    """
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if asked not in ("auto", "cuda"):
        hint = "Use auto, cpu or cuda."
        raise UsageError("cannot distill", where="option device", why=f"{asked!r} is no device", hint=hint, code=_CODE)
    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        why = "torch sees no CUDA device" if built else f"this torch ({torch.__version__}) is built without CUDA"
        hint = "Use --device cpu, or look at torch.cuda.is_available() where a device should be."
        raise UsageError("cannot distill", where="option device", why=why, hint=hint, code=_CODE)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def computing(threads: int, device: torch.device) -> Generator[None]:
    """Torch's thread count (0 leaves it) and the place of new tensors, for the time of the work."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        with device if device.type != "cpu" else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)
