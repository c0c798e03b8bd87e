"""Loaders: the same items and crops whatever the workers, ranks and resumes."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from asteroid_stab.data import Corpus, MixtureDataModule, MixtureDataset
from asteroid_stab.data.sampler import StridedSampler
from asteroid_stab.errors import StabError

RATE = 100


class Ramps(MixtureDataset):
    """Row r counts from r·10000, so that a sample says which row and which place it is from."""

    def read(self, row, start, stop):
        ramp = row * 10_000 + np.arange(start, stop)
        sources = np.stack([ramp, -ramp / 2]).astype(np.float32)
        return sources.sum(0), sources


class RampCorpus(Corpus):
    def __init__(self, lengths=(900,) * 23):
        super().__init__(2, RATE)
        self.lengths = lengths

    def dataset(self, split, segment_s=None, seed=0):
        lengths = self.lengths if split == "train" else (900,) * 7
        names = [f"{split}-{i}" for i in range(len(lengths))]
        return Ramps(names, lengths, self.n_src, RATE, segment_s, seed)


def ramp_data(lengths=(900,) * 23, batch_size=4, num_workers=0, seed=0, segment_s=1.0):
    return MixtureDataModule(RampCorpus(lengths), segment_s, batch_size, num_workers, seed)


def on_rank(rank, world_size, data):
    progress = SimpleNamespace(current=SimpleNamespace(processed=0))
    fit_loop = SimpleNamespace(epoch_progress=progress)
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=fit_loop)
    data.setup("fit")
    return data


def what_comes(loader, epoch=0):
    """(id, first sample of source 0) of every item, batch by batch."""
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    return [list(zip(ids.tolist(), sources[:, 0, 0].tolist(), strict=True)) for _, sources, ids in loader]


def test_a_batch_is_mixture_sources_and_id():
    data = ramp_data()
    data.setup("fit")
    mixture, sources, ids = next(iter(data.train_dataloader()))
    assert (mixture.shape, sources.shape, ids.shape) == ((4, 100), (4, 2, 100), (4,))
    assert (mixture.dtype, sources.dtype, ids.dtype) == (torch.float32, torch.float32, torch.int64)
    assert torch.equal(sources[:, 0, 0] // 10_000, ids.float())
    torch.testing.assert_close(sources.sum(1), mixture)


class Fits(pl.LightningModule):
    """Sees batches, and remembers nothing."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch):
        return (batch[0] * self.factor).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-12)


def test_a_training_goes_on_with_the_items_that_it_began_with(tmp_path):
    def fit(data, epochs, **kwargs):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, use_distributed_sampler=False,
            limit_val_batches=0, enable_checkpointing=False, **quiet,
        )  # fmt: skip
        trainer.fit(Fits(), data, **kwargs)
        return trainer

    path = tmp_path / "one.ckpt"
    fit(ramp_data(), 1).save_checkpoint(path)
    assert fit(ramp_data(seed=3, batch_size=2), 2, ckpt_path=path).current_epoch == 2
    with pytest.raises(StabError, match="on items with fingerprint [0-9a-f]{16}, these 22 have [0-9a-f]{16}: a run"):
        fit(ramp_data(lengths=(900,) * 22), 2, ckpt_path=path)


class Sees(Fits):
    """Keeps what comes in each epoch: id and first sample of source 0."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def training_step(self, batch):
        _, sources, ids = batch
        pairs = zip(ids.tolist(), sources[:, 0, 0].tolist(), strict=True)
        self.seen.setdefault(self.current_epoch, []).append(list(pairs))
        return super().training_step(batch)


class SaveAtEpochEnd(pl.callbacks.Checkpoint):
    """Saves a checkpoint where RunCheckpoint does: while Lightning still counts the epoch as going on."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_resumed_training_sees_what_an_undisturbed_one_does(tmp_path, num_workers):
    """Order and crops, from its first epoch on: workers fetch before Lightning says which epoch it is."""

    def fit(module, epochs, **kwargs):
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, use_distributed_sampler=False,
            callbacks=[SaveAtEpochEnd(tmp_path / "last.ckpt")], limit_val_batches=0, logger=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, ramp_data(num_workers=num_workers), **kwargs)
        return module.seen

    undisturbed = fit(Sees(), 4)
    assert undisturbed[1] != undisturbed[2]
    fit(Sees(), 2)
    resumed = fit(Sees(), 4, ckpt_path=tmp_path / "last.ckpt")
    assert resumed == {epoch: undisturbed[epoch] for epoch in (2, 3)}


def test_epochs_differ_in_order_and_crops_and_drop_the_rest():
    data = ramp_data()
    data.setup("fit")
    loader = data.train_dataloader()
    first, second = what_comes(loader, 0), what_comes(loader, 1)
    assert [len(batch) for batch in first] == [4] * 5
    assert first == what_comes(loader, 0)
    places = [dict(item for batch in epoch for item in batch) for epoch in (first, second)]
    both = places[0].keys() & places[1].keys()
    assert sum(places[0][item] != places[1][item] for item in both) > len(both) / 2
    assert list(places[0]) != list(places[1])


def test_persistent_workers_give_what_no_worker_gives_in_every_epoch():
    loaders = []
    for num_workers in (0, 2):
        data = ramp_data(num_workers=num_workers)
        data.setup("fit")
        loaders.append(data.train_dataloader())
    assert loaders[1].persistent_workers
    for epoch in (0, 1, 5):
        assert what_comes(loaders[0], epoch) == what_comes(loaders[1], epoch)


def test_two_ranks_give_what_one_gives_with_the_double_batch():
    alone = ramp_data(batch_size=8)
    alone.setup("fit")
    ranks = [on_rank(rank, 2, ramp_data(batch_size=4)) for rank in (0, 1)]
    parts = [what_comes(rank.train_dataloader(), 3) for rank in ranks]
    assert [a + b for a, b in zip(*parts, strict=True)] == what_comes(alone.train_dataloader(), 3)


def test_validation_crops_stay_and_ranks_share_them_without_padding():
    alone = ramp_data()
    alone.setup("fit")
    loader = alone.val_dataloader()
    whole = [item for batch in what_comes(loader) for item in batch]
    assert whole == [item for batch in what_comes(loader) for item in batch]
    assert [item for item, _ in whole] == list(range(7))
    assert len({place % 10_000 for _, place in whole}) > 3  # not all at the beginning
    parts = [
        [item for batch in what_comes(on_rank(rank, 2, ramp_data()).val_dataloader()) for item in batch]
        for rank in (0, 1)
    ]
    assert parts[0] == whole[0::2]
    assert parts[1] == whole[1::2]


def test_too_few_validation_items_for_the_processes():
    with pytest.raises(StabError, match="an item for each of 3 processes, got 2"):
        StridedSampler(2, rank=0, world_size=3)


def test_the_seed_decides_order_and_crops():
    epochs = []
    for seed in (0, 1):
        data = ramp_data(seed=seed)
        data.setup("fit")
        epochs.append(what_comes(data.train_dataloader()))
    assert epochs[0] != epochs[1]


def test_loading_leaves_the_global_generators_alone():
    data = ramp_data()
    data.setup("fit")
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    what_comes(data.train_dataloader())
    what_comes(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_whole_mixtures_to_test_with():
    data = ramp_data(lengths=(900, 50))
    assert data.test_dataset()[0][0].shape == (900,)
    assert len(data.test_dataset("train")) == 2
    with pytest.raises(ValueError, match="split must be one of train, valid, test, got 'tests'"):
        data.test_dataset("tests")


def test_stages_build_what_they_need_once():
    data = ramp_data()
    data.setup("validate")
    assert data.train_set is None
    valid_set = data.valid_set
    data.setup("fit")
    assert data.valid_set is valid_set
    assert len(data.train_set) == 23


def test_short_items_are_counted_once_on_rank_0(caplog):
    lengths = (900,) * 10 + (99,) * 3
    with caplog.at_level(logging.INFO):
        on_rank(1, 2, ramp_data(lengths=lengths))
        assert not caplog.records
        data = on_rank(0, 2, ramp_data(lengths=lengths))
        data.setup("fit")
    assert [record.getMessage() for record in caplog.records] == [
        "train: left out 3 of 13 mixtures shorter than segment_s=1"
    ]


def test_loaders_come_after_setup():
    with pytest.raises(ValueError, match=r'train_dataloader must come after setup\("fit"\)'):
        ramp_data().train_dataloader()
    with pytest.raises(ValueError, match=r'val_dataloader must come after setup\("fit"\)'):
        ramp_data().val_dataloader()


@pytest.mark.parametrize(
    ("now", "fn", "wanted"),
    [
        (None, None, ("train", "valid")),
        (None, "fit", ("train", "valid")),
        (None, "validate", ("valid",)),
        ("fit", None, ("train", "valid")),
        ("validate", None, ("valid",)),
        ("test", None, ("test",)),
        ("predict", None, ()),
        ("fit", "validate", ("valid",)),
    ],
)
def test_the_corpus_prepares_the_splits_that_are_used(monkeypatch, now, fn, wanted):
    done = []
    monkeypatch.setattr(RampCorpus, "prepare", lambda self, splits: done.append((self, splits)))
    data = ramp_data()
    if now is not None:
        data.trainer = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn(now)))
    data.prepare_data(fn)
    assert done == [(data.corpus, wanted)]


def test_a_trainer_prepares_what_it_uses(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(RampCorpus, "prepare", lambda self, splits: done.append(splits))
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", default_root_dir=tmp_path, use_distributed_sampler=False, **silent)
    trainer.validate(Recorder(), datamodule=ramp_data(), verbose=False)
    fit(tmp_path, Recorder(), ramp_data(), 1)
    assert done == [("valid",), ("train", "valid")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1, got 2.5"),
        ({"batch_size": True}, "batch_size must be an integer of at least 1, got True"),
        ({"num_workers": -1}, "num_workers must be an integer of at least 0, got -1"),
        ({"seed": -3}, "seed must be an integer of at least 0, got -3"),
        ({"segment_s": 0.0}, "segment_s must be at least one sample of 1/100 s, got 0.0"),
        ({"segment_s": -1.0}, "segment_s must be at least one sample of 1/100 s, got -1.0"),
        ({"segment_s": float("nan")}, "segment_s must be a number of seconds, got nan"),
        ({"segment_s": None}, "segment_s must be a number of seconds, got None"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ramp_data(**arguments)


class Recorder(pl.LightningModule):
    """Keeps the id and the place of everything that comes."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        mixture, sources, ids = batch
        self.seen.append((self.current_epoch, ids.tolist(), sources[:, 0, 0].tolist()))
        return (self.weight * mixture.mean() - 1) ** 2

    def validation_step(self, batch, batch_idx):
        self.validated.append((self.current_epoch, batch[2].tolist(), batch[1][:, 0, 0].tolist()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(folder, module, data, epochs, checkpoint=None):
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    path = folder / f"after-{epochs}.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_trainer_sets_the_epochs_and_a_resume_goes_on_with_the_next(tmp_path, num_workers):
    whole, first, second = Recorder(), Recorder(), Recorder()
    fit(tmp_path, whole, ramp_data(num_workers=num_workers), 2)
    checkpoint = fit(tmp_path, first, ramp_data(num_workers=num_workers), 1)
    fit(tmp_path, second, ramp_data(num_workers=num_workers), 2, checkpoint)
    assert first.seen + second.seen == whole.seen

    data = ramp_data()
    data.setup("fit")
    for epoch in (0, 1):
        expected = [list(map(list, zip(*batch, strict=True))) for batch in what_comes(data.train_dataloader(), epoch)]
        assert [[ids, places] for at, ids, places in whole.seen if at == epoch] == expected
    validated = [[batch[1:] for batch in whole.validated if batch[0] == epoch] for epoch in (0, 1)]
    assert validated[0] == validated[1]
    assert sum(len(ids) for ids, _ in validated[0]) == 7


def test_a_trainer_that_would_deal_out_twice_is_refused():
    data = ramp_data()
    connector = SimpleNamespace(use_distributed_sampler=True)
    data.trainer = SimpleNamespace(global_rank=0, world_size=2, _accelerator_connector=connector)
    with pytest.raises(StabError, match="use_distributed_sampler=False, got True with 2 processes"):
        data.setup("validate")


def test_lightning_still_keeps_the_argument_where_we_look():
    trainer = pl.Trainer(use_distributed_sampler=True, logger=False, accelerator="cpu")
    assert trainer._accelerator_connector.use_distributed_sampler is True


def test_batches_of_several_microphones_and_sets_that_differ(tiny_data):
    data = tiny_data(n_mics=3)
    data.setup("fit")
    mixture, sources, _ = next(iter(data.train_dataloader()))
    assert (mixture.shape, sources.shape) == ((4, 3, 800), (4, 2, 800))
    assert torch.allclose(mixture[:, 0], sources.sum(1), atol=1e-6)
    other = tiny_data(n_mics=3)
    dataset = other.corpus.dataset

    def with_one(split, *args):
        other.corpus.n_mics = 3 if split == "train" else 1
        return dataset(split, *args)

    other.corpus.dataset = with_one
    with pytest.raises(StabError, match="must have as many microphones, got train 3, valid 1"):
        other.setup("fit")
