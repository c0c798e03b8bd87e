"""A stabilizer for tests: the second step drops all items of rank 1, the fourth all items of all ranks."""

import json
from pathlib import Path

import torch

from asteroid_stab.stabilizers import Stabilizer
from asteroid_stab.stabilizers.comm import present_comm


class DropAt(Stabilizer):
    """Writes what it drops to ``folder``; with several ranks by rank, on one process what ``as_in`` says."""

    def __init__(self, folder, as_in=None):
        self.folder = Path(folder)
        files = sorted(Path(as_in).glob("*.json")) if as_in else []
        self.given = {tuple(pair) for file in files for pair in json.loads(file.read_text())} if as_in else None
        self.dropped = []

    def logits(self, step):
        k, ids, rank = step.clock.step, step.ids.tolist(), present_comm().rank
        if self.given is None:
            drop = [k == 3 or (k == 1 and rank == 1)] * len(ids)
        else:
            drop = [(k, i) in self.given for i in ids]
        self.dropped += [(k, i) for i, out in zip(ids, drop, strict=True) if out]
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{rank}.json").write_text(json.dumps(self.dropped))
        return torch.where(torch.tensor(drop), -torch.inf, 0.0)
