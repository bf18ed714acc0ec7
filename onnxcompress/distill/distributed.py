"""Several processes under torchrun: each takes its part of every batch, gradients are summed, process 0 writes.

Each process weighs its loss by its part of the global batch, so the summed gradients are those of one process on the
whole batch, and all processes take the same steps.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from onnxcompress.distill.notices import PATIENCE, Notices, open_store
from onnxcompress.environment import place_among_processes
from onnxcompress.errors import ResourceError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        notices: How the others learn of a failure.
    """

    rank: int = 0
    size: int = 1
    notices: Notices | None = field(default=None, repr=False, compare=False)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message for each type of number."""
        if self.size == 1:
            return
        owners = list(parameters)
        for kind in dict.fromkeys(p.dtype for p in owners):
            self._sum([p for p in owners if p.dtype == kind])

    def _sum(self, owners: list[torch.nn.Parameter]) -> None:
        flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in owners])
        with self._together():
            dist.all_reduce(flat)
        for parameter, part in zip(owners, flat.split([p.numel() for p in owners]), strict=True):
            parameter.grad = part.reshape(parameter.shape)

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Make running statistics alike: the mean over the processes."""
        if self.size == 1:
            return
        with self._together():
            for tensor in tensors:
                dist.all_reduce(tensor)
                tensor /= self.size

    def follow_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the numbers of the first; those of other processors differ in the last bits."""
        if self.size == 1:
            return
        with self._together(), torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def agree(self, value: T) -> T:
        """What process 0 says, for decisions that all must take alike, such as those by the clock."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        with self._together():
            dist.broadcast_object_list(values, 0)
        return values[0]

    def all_equal(self, value: int) -> bool:
        """True in every process where all have the same number; none goes on before all have asked."""
        if self.size == 1:
            return True
        found = torch.tensor([value, -value])
        with self._together():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found[0]) == -int(found[1])

    @contextmanager
    def _together(self) -> Generator[None]:
        """Around an exchange: where another process is gone, its failure becomes this one's.

        Raises:
            CompressError: What the other process failed with.
            ResourceError: Where it left without a word.
        """
        try:
            yield
        except RuntimeError as error:
            told = None if self.notices is None else self.notices.read()
            hint = "See what that process or its machine says, and start all of them again."
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            lost = ResourceError("lost another process of this training", why=why, hint=hint, code="RESOURCE-PEER")
            raise (told or lost) from error


@contextmanager
def world() -> Generator[World]:
    """The process group that torchrun's environment describes; one process where there is none.

    A failure inside is told to the other processes, and the connection closed, so that none waits for this one.

    Raises:
        ResourceError: Where the processes do not find each other.
    """
    rank, size = place_among_processes()
    if size == 1 or not dist.is_available():
        yield World()
        return
    if dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size())
        return
    notices = _joined(rank, size)
    try:
        yield World(rank, size, notices)
        # A process that leaves early closes connections that a slower one may still read from.
        dist.barrier()
    except BaseException as error:
        notices.post(error)
        raise
    finally:
        dist.destroy_process_group()


def _joined(rank: int, size: int) -> Notices:
    try:
        store = open_store()
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except RuntimeError as error:
        why = f"{size} processes were announced, and they do not find each other ({str(error).splitlines()[0]})"
        hint = "Start them with torchrun, and check MASTER_ADDR and MASTER_PORT."
        raise ResourceError("cannot train in several processes", why=why, hint=hint, code="RESOURCE-PEER") from error
    return Notices(store, rank)
