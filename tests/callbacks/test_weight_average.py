"""WeightAverage: what is validated, kept and resumed is the average of the weights."""

import pytest
import pytorch_lightning as pl
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from pytorch_lightning.callbacks import EMAWeightAveraging
from runs import SMALL, stab, state

from asteroid_stab.callbacks import (
    EpochModels,
    EpochTable,
    FreezeParameters,
    ProgressiveTraining,
    RunCheckpoint,
    WeightAverage,
)
from asteroid_stab.engine import RefinementSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import AttentionPITLossWrapper, ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.metrics.evaluation import evaluate
from asteroid_stab.metrics.pool import MetricPool
from asteroid_stab.models import LatentRefinementNet, conv_tasnet, layered_model, load_model
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import LossThreshold

DECAY = 0.7
WHOLE = {"segment_s": 0.15}  # the mixtures of the tiny corpus are as long as that


class Slow(pl.Callback):
    """The average in float64, tensor by tensor, from the weights after each step."""

    def __init__(self, decay=DECAY, first_epoch=0):
        self.decay, self.first_epoch = decay, first_epoch
        self.average, self.trained, self.ends = None, None, []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.trained = {name: value.detach().double().clone() for name, value in pl_module.state_dict().items()}
        if trainer.current_epoch < self.first_epoch:
            return
        if self.average is None:
            self.average = dict(self.trained)
        for name, value in self.trained.items():
            self.average[name] = self.decay * self.average[name] + (1 - self.decay) * value

    def on_train_epoch_end(self, trainer, pl_module):
        self.ends.append((dict(self.average or self.trained), self.trained))


def fit(root, tiny_data, tiny_trainer, system, callbacks, epochs=3, ckpt=None, data=None, **kwargs):
    trainer = tiny_trainer(root, callbacks=callbacks, max_epochs=epochs, **kwargs)
    trainer.fit(system, datamodule=data or tiny_data(**WHOLE), ckpt_path=ckpt, weights_only=True)
    return trainer


class Stopped(Exception):
    pass


class Stop(pl.Callback):
    """Ends a training in its epoch of this number, counted from 0."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise Stopped


def of_model(state_dict):
    return {name.removeprefix("model."): value for name, value in state_dict.items() if name.startswith("model.")}


def close(found, wanted, **tolerance):
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.double(), wanted[name].double(), **(tolerance or {"rtol": 1e-5, "atol": 1e-6}))


def differ(a, b):
    return any(not torch.equal(a[name].double(), b[name].double()) for name in a)


@pytest.mark.parametrize("first_epoch", [0, 2])
def test_files_and_checkpoints_hold_the_average(tmp_path, tiny_data, tiny_trainer, tiny_system, first_epoch):
    slow, system = Slow(first_epoch=first_epoch), tiny_system()
    callbacks = [slow, WeightAverage(DECAY, first_epoch), EpochModels(), RunCheckpoint()]
    fit(tmp_path, tiny_data, tiny_trainer, system, callbacks)
    run = RunLayout(tmp_path)
    for epoch, (average, trained) in enumerate(slow.ends):
        close(load_model(run.epoch_model(epoch)).state_dict(), of_model(average))
        assert differ(average, trained) == (epoch >= first_epoch)
    best = torch.load(run.model, weights_only=True)["infos"]["epoch"]
    close(load_model(tmp_path).state_dict(), of_model(slow.ends[best][0]))
    last = torch.load(run.last_checkpoint, weights_only=True)
    close(last["state_dict"], slow.ends[-1][0])
    close(last["current_model_state"], slow.ends[-1][1])
    close(system.state_dict(), slow.ends[-1][0])  # as after Lightning's own


def judged(file, data):
    """The mean SI-SDR of a model file on the validation set."""
    exact, model = PITLossWrapper(pairwise_neg_sisdr), load_model(file)
    with torch.no_grad():
        items = [(mixture, sources) for mixture, sources, _ in data.test_dataset("valid")]
        return -sum(exact(model(mixture[None]), sources[None]).item() for mixture, sources in items) / len(items)


@pytest.mark.slow  # starts measuring processes
def test_evaluate_measures_the_score_that_chose_the_file(tmp_path, tiny_data, tiny_trainer, tiny_system):
    data = tiny_data(**WHOLE)
    fit(tmp_path, tiny_data, tiny_trainer, tiny_system(), [WeightAverage(DECAY), RunCheckpoint()], data=data)
    infos = torch.load(tmp_path / "best_model.pth", weights_only=True)["infos"]
    with MetricPool(8000, ("si_sdr",), 1) as pool:
        mean = evaluate(load_model(tmp_path), data.test_dataset("valid"), pool).summary()["si_sdr"]["mean"]
    assert mean == pytest.approx(infos["val/si_sdr"], abs=1e-3)


@pytest.mark.parametrize("average", [WeightAverage, EMAWeightAveraging])
@pytest.mark.parametrize("layers", [False, True])
def test_the_score_of_the_file_is_the_score_that_chose_it(
    tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model, average, layers
):
    """Lightning's own callback too, which has swapped the weights back when the file is written."""
    loss = ExactPITLossWrapper(pairwise_neg_sisdr)
    model, loss = (layered_model(tiny_model()), LayerwiseLossWrapper(loss)) if layers else (None, loss)
    table, data = EpochTable(), tiny_data(**WHOLE)
    callbacks = [average(decay=DECAY), EpochModels(), table, RunCheckpoint()]
    fit(tmp_path, tiny_data, tiny_trainer, tiny_system(model, loss), callbacks, epochs=2, data=data)
    infos = torch.load(tmp_path / "best_model.pth", weights_only=True)["infos"]
    assert judged(tmp_path, data) == pytest.approx(infos["val/si_sdr"], abs=1e-3)
    for epoch, row in enumerate(table.rows):
        assert judged(RunLayout(tmp_path).epoch_model(epoch), data) == pytest.approx(row["val/si_sdr"], abs=1e-3)


@pytest.mark.parametrize("kind", ["plain", "accumulated", "attention"])
def test_resumed_equals_uninterrupted(tmp_path, tiny_data, tiny_trainer, tiny_system, kind):
    more = {"accumulate_grad_batches": 3} if kind == "accumulated" else {}

    def system():
        torch.manual_seed(0)
        return tiny_system(loss=AttentionPITLossWrapper(pairwise_neg_sisdr, 2) if kind == "attention" else None)

    def callbacks():
        return [WeightAverage(DECAY, 1), EpochTable(), RunCheckpoint()]

    fit(tmp_path / "whole", tiny_data, tiny_trainer, system(), callbacks(), 4, **more)
    fit(tmp_path / "run", tiny_data, tiny_trainer, system(), callbacks(), 1, **more)
    for epochs in (2, 4):
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        fit(tmp_path / "run", tiny_data, tiny_trainer, system(), callbacks(), epochs, last, **more)
    for name in ("last.ckpt", "best.ckpt"):
        for key in ("state_dict", "current_model_state"):
            found, wanted = (state(tmp_path / root, name)[key] for root in ("run", "whole"))
            close(found, wanted, rtol=0, atol=0)
    found, wanted = (load_model(tmp_path / root).state_dict() for root in ("run", "whole"))
    close(found, wanted, rtol=0, atol=0)
    assert differ(wanted, of_model(state(tmp_path / "whole")["current_model_state"]))


def test_the_training_itself_is_the_same(tmp_path, tiny_data, tiny_trainer, tiny_system):
    fit(tmp_path / "a", tiny_data, tiny_trainer, tiny_system(), [WeightAverage(0.99), RunCheckpoint()])
    fit(tmp_path / "b", tiny_data, tiny_trainer, tiny_system(), [RunCheckpoint()])
    close(state(tmp_path / "a")["current_model_state"], state(tmp_path / "b")["state_dict"], rtol=0, atol=0)


def test_frozen_parts_stay_what_they_were(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model):
    """To the bit: an average that rounds would move them."""
    callbacks = [FreezeParameters(["encoder"], 2), WeightAverage(0.9), RunCheckpoint()]
    fit(tmp_path, tiny_data, tiny_trainer, tiny_system(), callbacks, 2)
    found, start = load_model(tmp_path).state_dict(), tiny_model().state_dict()
    assert all(torch.equal(found[name], start[name]) for name in start if name.startswith("encoder."))
    assert not torch.equal(found["decoder.filterbank._filters"], start["decoder.filterbank._filters"])


def test_a_step_without_items_moves_no_average(tmp_path, tiny_data, tiny_trainer, tiny_system):
    average = WeightAverage(DECAY)

    class Wait(LossThreshold):
        """Drops all from the second epoch on."""

        def begin_epoch(self, clock):
            super().begin_epoch(clock)
            self.threshold = 1e6 if clock.epoch else -1e6

    slow = Slow()
    fit(tmp_path, tiny_data, tiny_trainer, tiny_system(), [Wait(-50.0), slow, average, RunCheckpoint()])
    close(state(tmp_path)["state_dict"], slow.ends[0][0])
    close(state(tmp_path)["current_model_state"], slow.ends[0][1])
    assert differ(slow.ends[0][0], slow.ends[0][1])


def test_batch_norm_statistics_are_averaged_and_its_counts_are_not(tmp_path, tiny_data, tiny_trainer, tiny_system):
    torch.manual_seed(0)
    model = conv_tasnet(
        2, n_filters=16, n_blocks=1, n_repeats=1, bn_chan=8, hid_chan=8, skip_chan=8, norm_type="bN", mask_act="relu"
    )
    slow = Slow()
    fit(tmp_path, tiny_data, tiny_trainer, tiny_system(model), [slow, WeightAverage(DECAY), EpochModels()])
    found = load_model(RunLayout(tmp_path).epoch_model(2)).state_dict()
    counts = [name for name in found if name.endswith("num_batches_tracked")]
    assert counts
    assert all(found[name] == 12 for name in counts)
    average = of_model(slow.ends[-1][0])
    close({n: v for n, v in found.items() if n not in counts}, {n: v for n, v in average.items() if n not in counts})
    assert any(name.endswith("running_var") for name in found)


def test_half_precision_is_averaged_in_float32(tmp_path):
    module = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    average = WeightAverage(0.999)
    module.weight.data.fill_(1.0)
    average._update(module)
    module.weight.data.fill_(2.0)
    for _ in range(200):
        average._update(module)
    with average.inside(module):
        assert module.weight.item() == pytest.approx(2 - 0.999**200, rel=0.01)  # bfloat16 alone would stay at 1
    assert module.weight.item() == 2
    saved = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(None, module, saved)
    again = WeightAverage(0.999)
    other = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    again.on_load_checkpoint(None, other, saved)
    assert torch.equal(again._average["weight"], average._average["weight"])
    assert other.weight.item() == 2


def test_weights_with_two_names_are_averaged_once():
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    module["b"].weight = module["a"].weight
    average = WeightAverage(0.5)
    module["a"].weight.data.fill_(0.0)
    average._update(module)
    module["a"].weight.data.fill_(1.0)
    average._update(module)
    with average.inside(module):
        assert module["b"].weight.eq(0.5).all()
    assert module["a"].weight.eq(1.0).all()
    saved = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(None, module, saved)
    assert saved["state_dict"]["b.weight"].eq(0.5).all()


def test_each_stage_of_a_progressive_training_has_its_own_average(tmp_path, tiny_data, tiny_trainer):
    def system():
        torch.manual_seed(0)
        model = LatentRefinementNet(
            2, n_blocks=2, n_iterations=1, own_heads=True, n_filters=16, bn_chan=8, upsampling_depth=2, noise_slot=True
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        return RefinementSystem(model, optimizer, ExactPITLossWrapper(pairwise_neg_sisdr))

    class Stages(Slow):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                self.average = None

    slow = Stages()
    callbacks = [slow, ProgressiveTraining(2), WeightAverage(DECAY), EpochModels(), RunCheckpoint()]
    fit(tmp_path / "whole", tiny_data, tiny_trainer, system(), callbacks, 4)
    run = RunLayout(tmp_path / "whole")
    close(state(run.root)["state_dict"], slow.ends[-1][0])
    stages = [load_model(run.stage_model(stage)).state_dict() for stage in (1, 2)]
    ends = [load_model(run.epoch_model(epoch)).state_dict() for epoch in range(4)]
    assert any(not differ(stages[0], end) for end in ends[:2])
    assert any(not differ(stages[1], end) for end in ends[2:])
    for epochs in (1, 2, 3):  # ended before the others by an error, as a kill would
        callbacks = [ProgressiveTraining(2), WeightAverage(DECAY), RunCheckpoint(), Stop(epochs)]
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        with pytest.raises(Stopped):
            fit(tmp_path / "run", tiny_data, tiny_trainer, system(), callbacks, 4, last if epochs > 1 else None)
    fit(tmp_path / "run", tiny_data, tiny_trainer, system(), callbacks[:3], 4, last)
    for key in ("state_dict", "current_model_state"):
        close(state(tmp_path / "run")[key], state(run.root)[key], rtol=0, atol=0)
    first = [name for name in stages[1] if name.startswith("masker.blocks.0.")]
    trained = of_model(slow.ends[1][1])  # a stage goes on from the last weights, as they were trained
    assert first
    assert all(torch.equal(stages[1][name].double(), trained[name]) for name in first)


def test_wrong_arguments_are_refused():
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"decay must be a number from 0 to below 1, got {decay}"):
            WeightAverage(decay)
    with pytest.raises(ValueError, match="first_epoch must be at least 0, got -1"):
        WeightAverage(0.9, -1)


@pytest.mark.parametrize("other", [EMAWeightAveraging, WeightAverage])
def test_two_averages_are_refused(other):
    average, other = WeightAverage(0.9), other(decay=0.9)
    with pytest.raises(
        StabError, match=f"one callback may average the weights, got WeightAverage and {type(other).__name__}"
    ):
        average.check(RunPlan(2, callbacks=[average, other]))


@pytest.mark.parametrize(
    ("kwargs", "note"),
    [
        ({"decay": 0.0}, "decay=0 makes the average the last weights"),
        ({"decay": 0.9, "first_epoch": 5}, "first_epoch=5 comes after the last of 5 epochs"),
        ({"decay": 0.9, "first_epoch": 4}, None),
    ],
)
def test_a_setting_without_effect_is_named(kwargs, note):
    average = WeightAverage(**kwargs)
    notes = RunPlan(2, callbacks=[average], max_epochs=5).notes()
    assert [note in line for line in notes] == ([] if note is None else [True])


def test_no_decay_is_a_training_without_it(tmp_path, tiny_data, tiny_trainer, tiny_system):
    fit(tmp_path / "a", tiny_data, tiny_trainer, tiny_system(), [WeightAverage(0.0), EpochTable(), RunCheckpoint()])
    fit(tmp_path / "b", tiny_data, tiny_trainer, tiny_system(), [EpochTable(), RunCheckpoint()])
    found, wanted = (load_model(tmp_path / root).state_dict() for root in "ab")
    close(found, wanted, rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_of_the_command_keep_one_average(tmp_path):
    words = ["train", "dsd_lo/toy", *SMALL, "callbacks=[tracker,ema]", "callbacks.ema.decay=0.5", "logger=none"]
    words += ["trainer.max_epochs=2"]
    stab(*words, f"run_dir={tmp_path}/one")
    two = ["loader.batch_size=4", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    stab(*words, *two, f"run_dir={tmp_path}/two")
    for key in ("state_dict", "current_model_state"):
        close(state(tmp_path / "two")[key], state(tmp_path / "one")[key], rtol=1e-3, atol=1e-3)
    assert differ(state(tmp_path / "two")["state_dict"], state(tmp_path / "two")["current_model_state"])


@pytest.mark.slow
def test_a_pretext_run_keeps_the_average(tmp_path, esc):
    words = [word for word in SMALL if word.startswith(("model.", "trainer.", "scheduler"))]
    words += ["data.base.n_utterances=1", "data.n_train=16", "data.n_valid=4", "data.n_test=4", "loader.segment_s=0.5"]
    words += [f"data.noise_root={esc}", "loader.batch_size=4", "pretext.n_fft=64", "pretext.hop=16", "logger=none"]
    words += ["callbacks=[ema]", "callbacks.ema.decay=0.5", "trainer.max_epochs=1"]
    stab("train", "ssl/toy_mama", *words, f"run_dir={tmp_path}/run")
    saved = state(tmp_path / "run")
    close(load_model(tmp_path / "run").state_dict(), of_model(saved["state_dict"]))
    assert differ(saved["state_dict"], saved["current_model_state"])
