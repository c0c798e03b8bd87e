"""Pre-training: what is logged, checkpointed and refused, and that a resume changes nothing."""

import own_nets
import pandas as pd
import pytest
import torch

from asteroid_stab.callbacks import AssignmentTracker, EpochTable, RunCheckpoint
from asteroid_stab.data import MixtureDataModule
from asteroid_stab.engine import PretextSystem
from asteroid_stab.errors import StabError
from asteroid_stab.models import hosted, load_pretrained
from asteroid_stab.pretext import ContrastivePrediction, MaskedReconstruction
from asteroid_stab.run.plan import RunPlan

TASKS = {
    "mama": lambda: MaskedReconstruction(n_fft=64, hop=16),
    "cc": lambda: ContrastivePrediction(n_dims=16, n_distractors=10),
}


@pytest.fixture
def make(tiny_model):
    def make(task="mama", n_src=1):
        torch.manual_seed(0)
        model, pretext = tiny_model(n_src), TASKS[task]()
        pretext.prepare(model)
        trained = [p for module in (model, pretext) for p in module.parameters() if p.requires_grad]
        return PretextSystem(model, torch.optim.Adam(trained, lr=1e-2), pretext)

    return make


def fit(root, trainer, system, data, epochs, resume=False):
    root.mkdir(exist_ok=True)
    callbacks = [EpochTable(), RunCheckpoint(system.default_monitor)]
    trainer = trainer(root, max_epochs=epochs, callbacks=callbacks)
    ckpt = root / "checkpoints" / "last.ckpt" if resume else None
    trainer.fit(system, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return trainer


@pytest.mark.parametrize("task", TASKS)
def test_resumed_equals_undisturbed_and_the_best_is_exported(tmp_path, make, tiny_data, tiny_trainer, tiny_model, task):
    fit(tmp_path / "whole", tiny_trainer, make(task), tiny_data(n_src=1), 3)
    fit(tmp_path / "run", tiny_trainer, make(task), tiny_data(n_src=1), 1)
    fit(tmp_path / "run", tiny_trainer, make(task), tiny_data(n_src=1), 3, resume=True)
    states = [
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "run")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(key.startswith("loss_func.") for key in states[0]) == (task == "cc")
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds") for run in ("whole", "run")]
    pd.testing.assert_frame_equal(*tables)
    assert (tables[0]["val/score"] == -tables[0]["val/loss"]).all()
    assert set(make(task).pretext.figures()) <= {name.removeprefix("train/") for name in tables[0]}
    exported = torch.load(tmp_path / "run" / "best_model.pth", weights_only=True)
    assert not any("pretext" in key for key in exported["state_dict"])
    assert exported["infos"]["val/score"] == pytest.approx(tables[0]["val/score"].max())
    transfer = load_pretrained(tiny_model(3), str(tmp_path / "run"), new_output=True)
    assert transfer.new == ["masker.mask_net.1.weight", "masker.mask_net.1.bias"]


def test_the_validation_draws_the_same_in_every_epoch_and_another_seed_draws_otherwise(make, tiny_data):
    losses = {}
    data = tiny_data(n_src=1)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    for seed in (0, 1):
        system = make("mama")
        system.seed = seed
        with torch.no_grad():
            losses[seed] = [system._losses(batch, epoch) for epoch in (0, 0, 1)]
    assert torch.equal(losses[0][0], losses[0][1])
    assert not torch.equal(losses[0][0], losses[0][2])
    assert not torch.equal(losses[0][0], losses[1][0])


def test_two_validations_of_an_untouched_model_are_equal(tmp_path, make, tiny_data, tiny_trainer):
    system = make("mama")
    for group in system.optimizer.param_groups:
        group["lr"] = 0.0
    table = EpochTable()
    tiny_trainer(tmp_path, max_epochs=3, callbacks=[table]).fit(system, datamodule=tiny_data(n_src=1))
    assert len({row["val/loss"] for row in table.rows}) == 1
    assert len({row["train/loss"] for row in table.rows}) == 3


def test_a_mixture_that_is_not_finite_is_left_out(make, tiny_data):
    data = tiny_data(n_src=1)
    data.setup("fit")
    mixture, sources, ids = next(iter(data.train_dataloader()))
    mixture[1, 5] = torch.nan
    losses = make("mama")._losses((mixture, sources, ids), 0)
    assert torch.isposinf(losses[1])
    assert torch.isfinite(losses[[0, 2, 3]]).all()


def test_padded_mixtures_are_refused(tmp_path, make, tiny_corpus, tiny_trainer):
    data = MixtureDataModule(tiny_corpus(n_src=1), 0.2, 4, pad_short=True)
    with pytest.raises(StabError, match="a pretext task would learn from padding: set loader.pad_short=false"):
        tiny_trainer(tmp_path).fit(make(), datamodule=data)


def test_several_sources_and_trackers_are_refused(tmp_path, make, tiny_data, tiny_trainer):
    with pytest.raises(StabError, match=r"one source in a mixture \(data.n_src=1\), got 2"):
        tiny_trainer(tmp_path).fit(make(n_src=2), datamodule=tiny_data(n_src=2))
    trainer = tiny_trainer(tmp_path, callbacks=[AssignmentTracker(save=False)])
    with pytest.raises(StabError, match="AssignmentTracker needs assignments, and a pretext task has none"):
        trainer.fit(make(), datamodule=tiny_data(n_src=1))


def test_several_microphones_are_refused(tiny_corpus):
    net = hosted(own_nets.AllMics, {"n_speakers": 1}, n_src=1, sample_rate=8000, inputs="channel_time", n_mics=2)
    system = PretextSystem(net, torch.optim.Adam(net.parameters()), TASKS["mama"]())
    plan = RunPlan(n_src=1, train_set=tiny_corpus(n_src=1, n_mics=2).dataset("train"), model=net, system=system)
    with pytest.raises(StabError, match=r"a pretext task learns from one microphone, got 2: set data.mics=\[0\]"):
        plan.ask()
