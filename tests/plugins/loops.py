"""The same training twice, for tests: by a plain loop with Stabilization, and by StabSystem with Lightning's Trainer.

As a program, under torchrun on several ranks: ``loops.py {loop|system} FOLDER`` trains three epochs, the loop with a
new start from a saved state after the first, and rank 0 writes ``FOLDER/{loop|system}.pt``: weights and figures.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.sampler import EpochSampler
from asteroid_stab.engine import StabSystem
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.models import conv_tasnet
from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilization, SwitchCounter

EPOCHS = 3


class Tones(MixtureDataset):
    """Two tones an item."""

    def __init__(self, n_items=16):
        super().__init__([f"tones-{i}" for i in range(n_items)], [800] * n_items, 2, 8000, 0.1)

    def read(self, row, start, stop):
        rng = np.random.default_rng(row)
        time = np.arange(start, stop) / 8000
        pitch = rng.uniform(1, 1.5, (2, 1)) * [[150.0], [300.0]]
        sources = (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
        return sources.sum(0), sources


def new_model():
    torch.manual_seed(0)
    return conv_tasnet(2, n_filters=32, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=16, skip_chan=8, mask_act="relu")


def new_optimizer(model):
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-2)


def new_stabilizers():
    return [SampleDropout(epsilon_db=0.0, keep_same=False), Reweighting(alpha=0.1)]


def new_loader(rank=0, n_ranks=1):
    train_set = Tones()
    sampler = EpochSampler(len(train_set), 4, 0, rank, n_ranks)
    return torch.utils.data.DataLoader(train_set, batch_size=4, sampler=sampler, drop_last=True)


class Loop:
    """A training loop of somebody's own."""

    def __init__(self, rank=0, n_ranks=1):
        self.loader, self.net = new_loader(rank, n_ranks), new_model()
        self.model = torch.nn.parallel.DistributedDataParallel(self.net) if n_ranks > 1 else self.net
        self.optimizer = new_optimizer(self.net)
        self.stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), new_stabilizers(), items=self.loader.dataset)

    def train_epoch(self, epoch, after_batch=None, skip=0):
        """One epoch; ``after_batch(i)`` true ends it early, ``skip`` batches are left out at its start."""
        self.loader.sampler.set_epoch(epoch)
        self.stab.begin_epoch(epoch)
        for i, (mixture, sources, ids) in enumerate(self.loader):
            if i < skip:
                continue
            loss = self.stab(self.model(mixture), sources, mixture=mixture, ids=ids)
            self.optimizer.zero_grad()
            loss.backward()
            if not self.stab.nothing_left:
                self.optimizer.step()
            if after_batch is not None and after_batch(i):
                return {}
        return self.stab.end_epoch()

    def state(self):
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "stab": self.stab.state_dict()}

    def load(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stab.load_state_dict(state["stab"])


class Figures(pl.Callback):
    """Keeps the figures of every epoch."""

    def __init__(self):
        self.rows = []

    def on_train_epoch_end(self, trainer, pl_module):
        own = {name.removeprefix("train/"): value.item() for name, value in trainer.callback_metrics.items()}
        self.rows.append({name: own[name] for name in own if name not in ("skipped_steps", "step_loss")})


def train_system(root, n_ranks=1, stabilizers=None, epochs=EPOCHS):
    """Trains StabSystem; returns the system and the figures of every epoch."""
    model, figures = new_model(), Figures()
    rank = int(os.environ.get("RANK", "0"))
    system = StabSystem(
        model, new_optimizer(model), ExactPITLossWrapper(pairwise_neg_sisdr), train_loader=new_loader(rank, n_ranks)
    )
    callbacks = [*(new_stabilizers() if stabilizers is None else stabilizers), SwitchCounter(), figures]
    trainer = pl.Trainer(
        accelerator="cpu", devices=n_ranks, strategy="ddp" if n_ranks > 1 else "auto", max_epochs=epochs, logger=False,
        callbacks=callbacks, default_root_dir=root, use_distributed_sampler=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(system)
    return system, figures.rows


def main(mode, folder):
    rank, n_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if mode == "system":
        system, rows = train_system(folder, n_ranks)
        weights = system.model.state_dict()
    else:
        torch.distributed.init_process_group("gloo")
        loop = Loop(rank, n_ranks)
        rows = [loop.train_epoch(0)]
        state = loop.state()  # after an epoch every rank's is whole; rank 0's is what a file would hold
        sent = [state if rank == 0 else None]
        torch.distributed.broadcast_object_list(sent, src=0)
        loop = Loop(rank, n_ranks)
        loop.load(sent[0])
        rows += [loop.train_epoch(epoch) for epoch in range(1, EPOCHS)]
        weights = loop.net.state_dict()
    if rank == 0:
        torch.save({"weights": dict(weights), "rows": rows}, Path(folder) / f"{mode}.pt")
    torch.distributed.barrier()
    os._exit(0)  # torch 2.11: the end of a gloo group may wait for ever for its own thread, which wants the GIL


if __name__ == "__main__":
    main(*sys.argv[1:])
