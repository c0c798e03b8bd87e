"""How the processes of a training exchange numbers: nothing on one process, torch.distributed on several."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor


class Comm:
    """Exchange of tensors between the processes (ranks) of a training; this base is for a single process.

    A subclass for another launcher overrides all four members.

    Example:
        >>> comm = Comm()
        >>> comm.rank, comm.n_ranks, comm.gather(torch.tensor([1.0, 2.0]))
        (0, 1, tensor([[1., 2.]]))
    """

    @property
    def rank(self) -> int:
        """This process, from 0."""
        return 0

    @property
    def n_ranks(self) -> int:
        """Number of processes."""
        return 1

    def gather(self, values: Tensor) -> Tensor:
        """Stacks a tensor ``[...]`` of every process to ``[R, ...]``; without gradients."""
        return values.detach().unsqueeze(0)

    def reduce_max(self, values: Tensor) -> Tensor:
        """Returns the largest entries over all processes, on every process."""
        return values.detach()

    @property
    def gather_or_none(self) -> Callable[[Tensor], Tensor] | None:
        """:meth:`gather` where there are several processes; None spares a single one the detour."""
        return self.gather if self.n_ranks > 1 else None


class TorchComm(Comm):
    """Exchange through ``torch.distributed``'s default process group, which must be initialised (torchrun, DDP)."""

    @property
    def rank(self) -> int:
        return dist.get_rank()

    @property
    def n_ranks(self) -> int:
        return dist.get_world_size()

    def gather(self, values: Tensor) -> Tensor:
        values = values.detach().contiguous()
        parts = [torch.empty_like(values) for _ in range(self.n_ranks)]
        dist.all_gather(parts, values)
        return torch.stack(parts)

    def reduce_max(self, values: Tensor) -> Tensor:
        largest = values.detach().clone()
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest


def present_comm() -> Comm:
    """Returns the exchange of this process as it runs now: several ranks where torch.distributed is initialised.

    Example:
        >>> type(present_comm()).__name__
        'Comm'
    """
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return TorchComm() if several else Comm()
