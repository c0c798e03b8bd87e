"""What a run goes on with."""

import pytest
import torch
from asteroid.losses import PairwiseNegSDR
from omegaconf import OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.losses import FixedPITLossWrapper
from asteroid_stab.run.build import build_run
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.resume import check_checkpoint, may_change, resumed_config


@pytest.fixture
def run(tmp_path):
    config = compose_recipe("baseline/toy", [f"run_dir={tmp_path / 'before'}", "logger=tensorboard"])
    OmegaConf.save(config, RunLayout(tmp_path).config)
    return tmp_path


def test_a_moved_run_goes_on_where_it_is(run):
    config = resumed_config(str(run), "baseline/toy", ["trainer.max_epochs=2", "loader.num_workers=3"])
    assert (config.run_dir, config.logger.save_dir) == (str(run), str(run))
    assert (config.trainer.max_epochs, config.loader.num_workers) == (2, 3)
    assert config.optim == OmegaConf.load(RunLayout(run).config).optim


def test_a_stored_config_that_names_no_weights_to_start_with_is_built(run):
    stored = OmegaConf.load(RunLayout(run).config)
    del stored.init["path"]
    OmegaConf.save(stored, RunLayout(run).config)
    assert build_run(resumed_config(str(run), None, []), resumed=True).transfer is None


@pytest.mark.parametrize(
    ("word", "may"),
    [
        ("data.root=/b", True),
        ("loader.batch_size=2", True),
        ("trainer.devices=2", True),
        ("logger.save_dir=x", True),
        ("data=librimix", False),
        ("trainer=ddp", False),
        ("~logger", False),
        ("+trainer.new=1", False),
        ("optim.lr=1", False),
        ("seed=1", False),
        ("database.x=1", False),
    ],
)
def test_what_may_change(word, may):
    assert may_change(word) is may


@pytest.mark.parametrize("n_epochs", ["999", "null", "-1"])
def test_a_learning_rate_that_has_ended_is_not_trained_with(run, n_epochs):
    with pytest.raises(StabError, match=r"ends at 0 after its \d+ epochs \(scheduler.total_iters\)"):
        resumed_config(str(run), None, [f"trainer.max_epochs={n_epochs}"])


def test_a_warm_up_that_is_over_is_no_end(run):
    """``total_iters`` of other schedules says when they stay as they are."""
    config = OmegaConf.load(RunLayout(run).config)
    config.scheduler = {"_target_": "torch.optim.lr_scheduler.LinearLR", "_partial_": True, "total_iters": 2}
    OmegaConf.save(config, RunLayout(run).config)
    assert resumed_config(str(run), None, ["trainer.max_epochs=9"]).trainer.max_epochs == 9
    config.scheduler = {
        "_target_": "torch.optim.lr_scheduler.OneCycleLR",
        "_partial_": True,
        "max_lr": 1.0,
        "total_steps": 8,
    }
    OmegaConf.save(config, RunLayout(run).config)
    with pytest.raises(StabError, match=r"ends at 0 after its 8 epochs \(scheduler.total_steps\)"):
        resumed_config(str(run), None, ["trainer.max_epochs=9"])


def test_another_recipe_is_refused(run):
    with pytest.raises(StabError, match="is a run of 'baseline/toy', not of 'dsd_lo/toy'"):
        resumed_config(str(run), "dsd_lo/toy", [])
    with pytest.raises(
        StabError, match="may change keys of data, loader, trainer, logger, checkpoint, not 'seed': start a new run"
    ):
        resumed_config(str(run), None, ["seed=4"])
    with pytest.raises(StabError, match=r"trainer.max_epochs: must be .*got 'many'"):
        resumed_config(str(run), None, ["trainer.max_epochs=many"])


@pytest.fixture
def checkpoint(tmp_path, tiny_system):
    """A checkpoint with a loss that keeps more than tensors, and the system that it is of."""
    loss = FixedPITLossWrapper(PairwiseNegSDR("sisdr"))
    system = tiny_system(loss=loss)
    state = {"epoch": 1, "state_dict": system.state_dict(), "callbacks": {}}
    assert any(not isinstance(value, torch.Tensor) for value in state["state_dict"].values())
    torch.save(state, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt", state, system


def test_a_checkpoint_with_the_state_of_a_loss_is_taken(checkpoint):
    path, state, system = checkpoint
    assert check_checkpoint(path, system)["epoch"] == state["epoch"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("state_dict"), "no readable checkpoint: it has no state_dict"),
        (lambda state: state.update(epoch="3"), "its epoch must be a int, got str"),
        (lambda state: state.update(callbacks=[1]), "its callbacks must be a dict, got list"),
        (lambda state: state.update(callbacks={4: {}}), "its callbacks must have names, got 4"),
        (lambda state: state.update({"pytorch-lightning_version": 2}), "lightning_version must be a str, got int"),
        (lambda state: state.update(state_dict=[1]), "holds no weights"),
        (lambda state: state["state_dict"].update({5: torch.zeros(1)}), "must be text, got int"),
        (lambda state: state["state_dict"].update(a="b"), "holds no weights: 'a' is a str"),
        (lambda state: with_first(state, lambda w: w.to_sparse()), "must be dense, .* is sparse"),
        (lambda state: with_first(state, lambda w: w.to(torch.int32)), "must be torch.float32, got torch.int32"),
    ],
)
def test_checkpoints_that_no_training_wrote_are_refused(checkpoint, change, message):
    path, state, system = checkpoint
    state["state_dict"] = dict(state["state_dict"])
    change(state)
    torch.save(state, path)
    with pytest.raises(StabError, match=message):
        check_checkpoint(path, system)


def with_first(state, change):
    name = next(iter(state["state_dict"]))
    state["state_dict"][name] = change(state["state_dict"][name])


def test_a_damaged_checkpoint_is_refused(checkpoint):
    path, _, system = checkpoint
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 2, 97):
        data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(StabError, match=r"last.ckpt' is no readable checkpoint: "):
        check_checkpoint(path, system)
