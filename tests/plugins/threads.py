"""Comms of several processes in one, for tests of what processes unite at the end of an epoch."""

from threading import Barrier

import torch

from asteroid_stab.stabilizers.comm import Comm


class Threads:
    """Processes of one training as threads, which wait for each other.

    Args:
        n: number of processes.
    """

    def __init__(self, n):
        self.n, self.barrier, self.sent = n, Barrier(n), [None] * n

    def comm(self, rank):
        """The comm of a process."""

        class Rank(Comm):
            n_ranks = self.n

            def _exchange(comm, values):
                self.sent[rank] = values.detach().clone()
                self.barrier.wait()
                all_sent = torch.stack(self.sent)
                self.barrier.wait()
                return all_sent

            gather = _exchange

            def reduce_max(comm, values):
                return comm._exchange(values).amax(0)

        Rank.rank = rank
        return Rank()
