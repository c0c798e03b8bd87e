"""The training of ``loops`` in other people's toolkits, for tests: same data, order, weights and optimizer.

As a program, under torchrun: ``toolkit_loops.py TOOLKIT FOLDER`` trains on all ranks, with a new start from the
toolkit's own checkpoint after the first epoch, and rank 0 writes ``FOLDER/TOOLKIT.pt``: weights and figures.
"""

import os
import sys
from pathlib import Path

import loops
import numpy as np
import pytorch_lightning as pl
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import stabilized as lightning_stabilized
from asteroid_stab.data import with_ids
from asteroid_stab.data.sampler import EpochSampler
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import Stabilization, carry_state, skip_empty_steps

EPOCHS, N_ITEMS = 6, 16
LR = 0.2  # so much that losses rise, too


class Noise(loops.Tones):
    """Every other item is of two noises, which nobody can tell apart: assignments switch, and items are dropped."""

    def read(self, row, start, stop):
        if row % 2:
            return super().read(row, start, stop)
        sources = np.random.default_rng(row).standard_normal((2, 800), dtype=np.float32)[:, start:stop]
        return sources.sum(0), sources


def use_noise(setattr=setattr):
    """Trains on :class:`Noise` from now on, in long steps; given ``monkeypatch.setattr``, until the test ends."""
    setattr(loops, "Tones", Noise)
    setattr(loops, "new_optimizer", lambda model: new_optimizer(model.parameters()))


def new_optimizer(parameters):
    return torch.optim.Adam([p for p in parameters if p.requires_grad], lr=LR)


NAMES = [f"tones-{i:02}" for i in range(N_ITEMS)]


class Order(EpochSampler):
    """The same order for data sets that are indexed by a number, and toolkits that count epochs from ``first``."""

    first = 0

    def __iter__(self):
        return (row for _, row in super().__iter__())

    def set_epoch(self, epoch):
        super().set_epoch(epoch - self.first)


def new_order(rank, n_ranks, first=0):
    order = Order(N_ITEMS, 4, 0, rank, n_ranks)
    order.first = first
    return order


def new_stab(items=None):
    return Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), loops.new_stabilizers(), items=items)


class Result:
    """Weights, figures of every epoch, and the state of the stabilizers."""

    def __init__(self, model, rows, stab):
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.rows, self.stabilizers = rows, stab.state_dict()["stabilizers"]


# --- SpeechBrain ---


def speechbrain(root, epochs=EPOCHS, rank=0, n_ranks=1, **run_opts):
    import speechbrain as sb
    from speechbrain.dataio.batch import PaddedBatch
    from speechbrain.dataio.dataloader import SaveableDataLoader
    from speechbrain.dataio.dataset import DynamicItemDataset
    from speechbrain.utils.checkpoints import Checkpointer
    from speechbrain.utils.epoch_loop import EpochCounter

    from asteroid_stab.integrations.speechbrain import Stabilized

    class Separation(Stabilized, sb.Brain):
        def compute_forward(self, batch, stage):
            return self.modules.net(batch.mix.data).transpose(1, 2)  # [B, T, J]

        def compute_objectives(self, predictions, batch, stage):
            return self.separation_loss(predictions, batch.src.data, batch.mix.data, batch, stage)

        def on_stage_end(self, stage, stage_loss, epoch=None):
            super().on_stage_end(stage, stage_loss, epoch)
            if stage == sb.Stage.TRAIN:
                rows.append(self.figures)
                self.checkpointer.save_checkpoint()

    def tones(row):
        mixture, sources, _ = known[int(row)]
        yield torch.as_tensor(mixture)
        yield torch.as_tensor(sources).T

    known, rows = loops.Tones(), []
    dataset = DynamicItemDataset({name: {"row": i} for i, name in enumerate(NAMES)})
    dataset.add_dynamic_item(tones, takes="row", provides=["mix", "src"])
    dataset.set_output_keys(["id", "mix", "src"])
    order = new_order(rank, n_ranks, first=1)
    loader = SaveableDataLoader(dataset, batch_size=4, sampler=order, drop_last=True, collate_fn=PaddedBatch)
    counter, net = EpochCounter(epochs), loops.new_model()
    checkpointer = Checkpointer(root, {"net": net, "counter": counter, "loader": loader})
    brain = Separation(
        {"net": net},
        new_optimizer,
        {"stab": new_stab()},
        {"device": "cpu", "max_grad_norm": 1e9, "noprogressbar": True, **run_opts},
        checkpointer,
    )
    brain.train_sampler = order
    brain.fit(counter, loader)
    return Result(net, rows, brain.hparams.stab)


# --- ESPnet ---


def espnet_model(stab, net=None, criteria=()):
    """ESPnet's model around a net of ours: an encoder and decoder that pass waveforms on, and the net as separator."""
    from espnet2.enh.decoder.null_decoder import NullDecoder
    from espnet2.enh.encoder.null_encoder import NullEncoder
    from espnet2.enh.espnet_model import ESPnetEnhancementModel
    from espnet2.enh.loss.criterions.time_domain import SISNRLoss
    from espnet2.enh.loss.wrappers.pit_solver import PITSolver
    from espnet2.enh.separator.abs_separator import AbsSeparator

    from asteroid_stab.integrations.espnet import stabilized

    class Separator(AbsSeparator):
        num_spk = 2

        def __init__(self):
            super().__init__()
            self.net = net or loops.new_model()

        def forward(self, feature, lengths, additional=None):
            return list(self.net(feature).unbind(1)), lengths, {}

        def forward_streaming(self, input_frame):
            raise NotImplementedError

    losses = [PITSolver(SISNRLoss()), *criteria]
    model = ESPnetEnhancementModel(NullEncoder(), Separator(), NullDecoder(), None, losses)
    return model if stab is None else stabilized(model, stab)


def espnet_options(root, epochs, **others):
    import dataclasses

    from espnet2.train.trainer import TrainerOptions

    given = {
        "output_dir": str(root), "max_epoch": epochs, "resume": True, "accum_grad": 1, "grad_clip": 1e9,
        "grad_clip_type": 2.0, "train_dtype": "float32", "keep_nbest_models": [2], "nbest_averaging_interval": 0,
        "early_stopping_criterion": ("valid", "loss", "min"), "best_model_criterion": [("valid", "loss", "min")],
        "val_scheduler_criterion": ("valid", "loss"), "seed": 0, "ngpu": 0, "save_strategy": "all", "adapter": "",
        "wandb_model_log_interval": -1, "gradient_as_bucket_view": True, **others,
    }  # fmt: skip
    neutral = {"bool": False, bool: False}
    return TrainerOptions(
        **{f.name: given.get(f.name, neutral.get(f.type)) for f in dataclasses.fields(TrainerOptions)}
    )


def espnet_batches(order=None):
    """Batches of ESPnet's kind: names, and a dict of what was read."""
    known = loops.Tones()
    rows = list(range(8)) if order is None else list(order)
    for start in range(0, len(rows), 4):
        items = [known[row] for row in rows[start : start + 4]]
        mixture, src = (torch.stack([torch.as_tensor(item[i]) for item in items]) for i in (0, 1))
        lengths = torch.full((4,), mixture.shape[1])
        batch = {"speech_mix": mixture, "speech_ref1": src[:, 0], "speech_ref2": src[:, 1]}
        yield [NAMES[row] for row in rows[start : start + 4]], {**batch, "speech_mix_lengths": lengths}


def espnet(root, epochs=EPOCHS, rank=0, n_ranks=1):
    from espnet2.iterators.abs_iter_factory import AbsIterFactory
    from espnet2.train.distributed_utils import DistributedOption
    from espnet2.train.trainer import Trainer

    class Train(AbsIterFactory):
        def build_iter(self, epoch, shuffle=None):
            order.set_epoch(epoch)
            return list(espnet_batches(order))

    class Valid(AbsIterFactory):
        def build_iter(self, epoch, shuffle=None):
            return list(espnet_batches())

    class Rows(Trainer):
        @classmethod
        def validate_one_epoch(cls, model, iterator, reporter, options, distributed_option):
            super().validate_one_epoch(model, iterator, reporter, options, distributed_option)
            rows.append(getattr(model, "module", model).figures)

    order, rows = new_order(rank, n_ranks, first=1), []
    stab = new_stab(NAMES)
    model = espnet_model(stab)
    optimizer = loops.new_optimizer(model)
    carry_state(stab, optimizer)
    skip_empty_steps(stab, optimizer)
    distributed = DistributedOption(
        distributed=n_ranks > 1, dist_backend="gloo", dist_rank=rank, dist_world_size=n_ranks
    )
    Rows.run(model, [optimizer], [None], Train(), Valid(), None, espnet_options(root, epochs), distributed)
    return Result(model.separator.net, rows, stab)


# --- Accelerate ---


def accelerate(root, epochs=EPOCHS, rank=0, n_ranks=1):
    from accelerate import Accelerator

    from asteroid_stab.integrations.accelerate import stabilized

    accelerator, net, rows = Accelerator(cpu=True), loops.new_model(), []
    optimizer = loops.new_optimizer(net)
    loss = ExactPITLossWrapper(pairwise_neg_sisdr)
    stab = stabilized(accelerator, loss, loops.new_stabilizers(), NAMES, [optimizer])
    model, optimizer = accelerator.prepare(net, optimizer)
    known, order = loops.Tones(), new_order(rank, n_ranks)
    done = sorted(Path(root).glob("after-*"))
    if done:
        accelerator.load_state(str(done[-1]))
    for epoch in range(len(done), epochs):
        order.set_epoch(epoch)
        stab.begin_epoch(epoch)
        rows_of_epoch = list(order)
        for start in range(0, len(rows_of_epoch), 4):
            items = [known[row] for row in rows_of_epoch[start : start + 4]]
            mixture, sources = (torch.stack([torch.as_tensor(item[i]) for item in items]) for i in (0, 1))
            names = [NAMES[row] for row in rows_of_epoch[start : start + 4]]
            accelerator.backward(stab(model(mixture), sources, mixture=mixture, ids=names))
            optimizer.step()
            optimizer.zero_grad()
        rows.append(stab.end_epoch())
        accelerator.save_state(str(Path(root) / f"after-{epoch}"))
    return Result(net, rows, stab)


# --- a LightningModule that is not ours ---


class Foreign(pl.LightningModule):
    def __init__(self, rank, n_ranks):
        super().__init__()
        self.net, self.rank, self.n_ranks, self.own = loops.new_model(), rank, n_ranks, loops.new_stabilizers()

    def configure_callbacks(self):
        self.stab = lightning_stabilized(self, ExactPITLossWrapper(pairwise_neg_sisdr), self.own)
        return []

    def training_step(self, batch, batch_idx):
        mixture, sources, _, ids = batch  # the data set's own id, and the id of with_ids
        return self.stab(self.net(mixture), sources, mixture=mixture, ids=ids)

    def configure_optimizers(self):
        optimizer = loops.new_optimizer(self.net)
        skip_empty_steps(self.stab, optimizer)
        return optimizer

    def train_dataloader(self):
        order = new_order(self.rank, self.n_ranks)
        return torch.utils.data.DataLoader(with_ids(loops.Tones()), batch_size=4, sampler=order, drop_last=True)


def lightning(root, epochs=EPOCHS, rank=0, n_ranks=1):
    module, figures = Foreign(rank, n_ranks), loops.Figures()
    last = Path(root) / "last.ckpt"
    saved = pl.callbacks.ModelCheckpoint(
        root, filename="last", save_top_k=1, every_n_epochs=1, enable_version_counter=False
    )
    trainer = pl.Trainer(
        accelerator="cpu", devices=n_ranks, strategy="ddp" if n_ranks > 1 else "auto", max_epochs=epochs, logger=False,
        callbacks=[figures, saved], default_root_dir=root, use_distributed_sampler=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
    return Result(module.net, figures.rows, module.stab)


# --- this package's own ---


def system(root, epochs=EPOCHS, rank=0, n_ranks=1):
    tracked = loops.new_stabilizers()
    trained, rows = loops.train_system(root, n_ranks, tracked, epochs)
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), tracked)
    return Result(trained.model, rows, stab)


TOOLKITS = {"speechbrain": speechbrain, "espnet": espnet, "accelerate": accelerate, "lightning": lightning}


def main(toolkit, folder):
    rank, n_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    use_noise()
    if toolkit in ("speechbrain", "espnet"):
        torch.distributed.init_process_group("gloo")
    root = Path(folder) / f"{toolkit}-checkpoints"
    root.mkdir(exist_ok=True)
    run_opts = {"distributed_launch": True, "distributed_backend": "gloo"} if toolkit == "speechbrain" else {}
    rows = []
    for epochs in (
        (EPOCHS,) if toolkit == "system" else (1, EPOCHS)
    ):  # the second goes on from the checkpoint of the first
        result = {**TOOLKITS, "system": system}[toolkit](root, epochs, rank, n_ranks, **run_opts)
        rows += result.rows
        torch.distributed.barrier()  # rank 0 has written its checkpoint
    if rank == 0:
        torch.save({"weights": result.weights, "rows": rows}, Path(folder) / f"{toolkit}.pt")
    torch.distributed.barrier()
    os._exit(0)  # torch 2.11: the end of a gloo group may wait for ever for its own thread, which wants the GIL


if __name__ == "__main__":
    main(*sys.argv[1:])
