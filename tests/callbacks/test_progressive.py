"""Training in stages."""

import pytest
import pytorch_lightning as pl
import torch
from asteroid.losses import pairwise_neg_sisdr
from pytorch_lightning.callbacks import EarlyStopping

from asteroid_stab.callbacks import AssignmentTracker, EpochTable, ProgressiveTraining, RunCheckpoint
from asteroid_stab.engine import RefinementSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, HysteresisPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.models import LatentRefinementNet, layered_model, load_model
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.stabilizers import SampleDropout

SIZE = {"n_blocks": 3, "n_iterations": 2, "own_heads": True, "n_filters": 16, "bn_chan": 8, "upsampling_depth": 2}
SIZE["noise_slot"] = True


def make_system(scheduler=None, lr=1e-2, loss=None, **kwargs):
    torch.manual_seed(0)
    model = LatentRefinementNet(2, **{**SIZE, **kwargs})
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    made = scheduler(optimizer) if scheduler else None
    loss = loss or ExactPITLossWrapper(pairwise_neg_sisdr)
    return RefinementSystem(model, optimizer, loss, scheduler=made)


class Watch(AssignmentTracker):
    """Notes the weights and what the optimizer holds at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_epoch_end(self, trainer, pl_module):
        super().on_train_epoch_end(trainer, pl_module)
        weights = {name: value.clone() for name, value in pl_module.model.state_dict().items()}
        steps = {int(state["step"]) for state in pl_module.optimizer.state.values()}
        held = {id(p) for group in pl_module.optimizer.param_groups for p in group["params"]}
        names = {name for name, p in pl_module.model.named_parameters() if id(p) in held}
        self.ends.append((weights, steps, names, pl_module.optimizer.param_groups[0]["lr"]))


def linear(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)


def test_each_stage_trains_its_block_alone_and_begins_anew(tmp_path, tiny_data, tiny_trainer):
    watch, table = Watch(), EpochTable()
    system = make_system(linear)
    start = {name: value.clone() for name, value in system.model.state_dict().items()}
    callbacks = [watch, ProgressiveTraining(2), table, RunCheckpoint()]
    tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=6).fit(system, datamodule=tiny_data())
    assert [row["train/stage"] for row in table.rows] == [1, 1, 2, 2, 3, 3]
    assert [row["lr"] for row in table.rows] == [0.01, 0.005] * 3
    assert [steps for _, steps, _, _ in watch.ends] == [{4}, {8}] * 3
    head = {1: "early_heads.0.", 2: "early_heads.1.", 3: ("masker.mask_net.", "decoder.")}
    for stage in (1, 2, 3):
        before = start if stage == 1 else watch.ends[2 * stage - 3][0]
        after, _, held, _ = watch.ends[2 * stage - 1]
        own = (f"masker.blocks.{stage - 1}.", *([head[stage]] if stage < 3 else head[3]))
        own += ("encoder.", "masker.ln.", "masker.bottleneck.") if stage == 1 else ()
        for name, value in after.items():
            assert torch.equal(value, before[name]) != name.startswith(own), (stage, name)
        assert held == {name for name in held if name.startswith(own)}
    sizes = [len(load_model(file).masker.blocks) for file in sorted((tmp_path / "stages").glob("*.pth"))]
    assert sizes == [1, 2, 3]
    assert ["train/switch_ratio" in row for row in table.rows] == [False, True] * 3  # none from one head to another
    best = load_model(tmp_path)
    assert len(best.masker.blocks) == 3
    assert best(torch.randn(1, 800)).shape == (1, 2, 800)


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
@pytest.mark.parametrize("plateau", [False, True])
def test_it_resumes_anywhere(tmp_path, tiny_data, tiny_trainer, stop, plateau):
    def schedule(optimizer):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0, threshold=100)

    def fit(root, until=None, **kwargs):
        system = make_system(schedule if plateau else linear)
        callbacks = [AssignmentTracker(), ProgressiveTraining(2), EpochTable(), RunCheckpoint()]
        trainer = tiny_trainer(root, callbacks=callbacks, max_epochs=6)
        if until is not None:

            class Stop(pl.Callback):
                def on_train_epoch_start(self, trainer, pl_module):
                    if trainer.current_epoch == until:
                        raise KeyboardInterrupt

            trainer.callbacks.insert(0, Stop())
            with pytest.raises((KeyboardInterrupt, SystemExit)):
                trainer.fit(system, datamodule=tiny_data())
        else:
            trainer.fit(system, datamodule=tiny_data(), **kwargs)
        return system, callbacks[2].rows, callbacks[3].best_score

    whole, rows, best = fit(tmp_path / "whole")
    fit(tmp_path / "run", until=stop)
    resumed, again, same = fit(
        tmp_path / "run", ckpt_path=tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True
    )
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]
    assert best == same
    for stage in (1, 2):
        files = [
            load_model(tmp_path / root / "stages" / f"stage_{stage}.pth").state_dict() for root in ("whole", "run")
        ]
        assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_the_loss_forgets_the_assignments_of_another_head(tmp_path, tiny_data, tiny_trainer):
    loss, remembers = HysteresisPITLossWrapper(pairwise_neg_sisdr, 1.0), []

    class Look(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            remembers.append(bool(loss.banks))

    callbacks = [ProgressiveTraining(2), Look(), RunCheckpoint()]
    tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=6).fit(make_system(loss=loss), datamodule=tiny_data())
    assert remembers == [False, True] * 3


def test_a_stage_that_was_kept_is_not_kept_again(tmp_path):
    """A kill in the first epoch of a stage leaves that stage's model in the place of the best."""
    (tmp_path / "best_model.pth").write_text("first")
    ProgressiveTraining._keep(RunLayout(tmp_path), 1)
    (tmp_path / "best_model.pth").write_text("second")
    ProgressiveTraining._keep(RunLayout(tmp_path), 1)
    assert (tmp_path / "stages" / "stage_1.pth").read_text() == "first"


@pytest.mark.parametrize(
    ("kwargs", "epochs", "message"),
    [
        ({}, 7, "trainer.max_epochs must be 6, epochs_per_stage=2 for each of 3 blocks, got 7"),
        ({"own_heads": False}, 6, "needs own_heads=true"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, tiny_data, tiny_trainer, kwargs, epochs, message):
    trainer, system = (
        tiny_trainer(tmp_path, callbacks=[ProgressiveTraining(2)], max_epochs=epochs),
        make_system(**kwargs),
    )
    with pytest.raises(StabError, match=message):
        trainer.fit(system, datamodule=tiny_data())


def test_other_models_are_refused(tmp_path, tiny_data, tiny_trainer, tiny_system):
    with pytest.raises(StabError, match=r"needs a model with stages \(model=refiner\), got ConvTasNet"):
        tiny_trainer(tmp_path, callbacks=[ProgressiveTraining(1)]).fit(tiny_system(), datamodule=tiny_data())
    with pytest.raises(ValueError, match="epochs_per_stage must be at least 1, got 0"):
        ProgressiveTraining(0)


def test_a_stage_that_may_have_no_best_model_is_refused(tmp_path, tiny_data, tiny_trainer):
    trainer = tiny_trainer(tmp_path, callbacks=[ProgressiveTraining(2)], max_epochs=6, check_val_every_n_epoch=3)
    with pytest.raises(StabError, match="check_val_every_n_epoch must be at most epochs_per_stage=2, got 3"):
        trainer.fit(make_system(), datamodule=tiny_data())


def test_with_rare_validations_every_stage_has_a_model(tmp_path, tiny_data, tiny_trainer):
    callbacks = [ProgressiveTraining(2), RunCheckpoint()]
    trainer = tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=6, check_val_every_n_epoch=2)
    trainer.fit(make_system(), datamodule=tiny_data())
    sizes = [len(load_model(file).masker.blocks) for file in sorted((tmp_path / "stages").glob("*.pth"))]
    assert sizes == [1, 2, 3]
    (tmp_path / "stages" / "stage_3.pth").unlink()  # as after a kill behind the last checkpoint
    again = tiny_trainer(tmp_path, callbacks=[ProgressiveTraining(2), RunCheckpoint()], max_epochs=6)
    again.fit(
        make_system(), datamodule=tiny_data(), ckpt_path=tmp_path / "checkpoints" / "last.ckpt", weights_only=True
    )
    assert len(load_model(tmp_path / "stages" / "stage_3.pth").masker.blocks) == 3


def test_early_stopping_would_leave_blocks_untrained(tmp_path, tiny_data, tiny_trainer):
    callbacks = [EarlyStopping("val/si_sdr", mode="max"), ProgressiveTraining(2)]
    with pytest.raises(StabError, match="early_stopping would leave blocks untrained"):
        tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=6).fit(make_system(), datamodule=tiny_data())


def test_a_validation_is_of_the_whole_model(tmp_path, tiny_data, tiny_trainer):
    system = make_system()
    trainer = tiny_trainer(tmp_path, callbacks=[ProgressiveTraining(2)], max_epochs=6)
    trainer.validate(system, datamodule=tiny_data(), verbose=False)
    assert system.model.stage is None


def test_what_was_remembered_of_items_is_forgotten(tmp_path, tiny_data, tiny_trainer):
    """With a loss for every layer a stage has more layers than the one before, and the bank begins empty."""
    torch.manual_seed(0)
    model = layered_model(LatentRefinementNet(2, **SIZE), "shared")
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    system = RefinementSystem(model, torch.optim.Adam(model.parameters(), lr=1e-2), loss)
    tracker, dropout, table = AssignmentTracker(), SampleDropout(0.0, keep_same=False), EpochTable()
    callbacks = [tracker, dropout, ProgressiveTraining(2), table, RunCheckpoint()]
    tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=6).fit(system, datamodule=tiny_data())
    assert [row["train/kept_first"] for row in table.rows] == [1, 0] * 3
    assert [(row["epoch"], row["n_compared"] > 0) for row in tracker.rows if row["layer"] == 0] == [
        (epoch, epoch % 2 == 1) for epoch in range(6)
    ]
    assert [sum(row["epoch"] == epoch for row in tracker.rows) for epoch in (0, 2, 4)] == [2, 4, 6]
