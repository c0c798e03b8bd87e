"""The plan of a run: what cannot work is refused, and what changes nothing is told, before a file is written."""

import json

import pytest
import torch
from asteroid.losses import PairwiseNegSDR
from runs import SMALL

from asteroid_stab.cli.main import main
from asteroid_stab.losses import (
    ExactPITLossWrapper,
    FixedPITLossWrapper,
    LayerwiseLossWrapper,
    RisingSchedule,
    SwitchedLossWrapper,
)
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilizer, SwitchCounter

PAIRS = PairwiseNegSDR("sisdr")
PIT, FIXED = ExactPITLossWrapper(PAIRS), FixedPITLossWrapper(PAIRS)


def some_unseen():
    loss = FixedPITLossWrapper(PAIRS, "run")
    loss.labels = torch.tensor([[0, 1], [-1, -1]])
    return loss


class Zero(Stabilizer):
    """A user's stabilizer that declares nothing."""

    def logits(self, step):
        return step.assignment.loss.new_zeros(len(step.assignment.loss))


@pytest.mark.parametrize(
    ("part", "plan", "why"),
    [
        (SampleDropout(), {}, "epsilon_db=inf keeps every item"),
        (SampleDropout(1.0), {}, None),
        (SampleDropout(0.0), {}, None),
        (SampleDropout(1.0), {"n_src": 1}, "with one source an assignment never changes"),
        (SampleDropout(1.0, keep_same=False), {"n_src": 1}, None),
        (SampleDropout(1.0), {"loss": FIXED}, r"the labels are fixed \(loss=fixed\)"),
        (SampleDropout(1.0), {"loss": LayerwiseLossWrapper(FIXED)}, "the labels are fixed"),
        (SampleDropout(1.0), {"loss": LayerwiseLossWrapper(PIT)}, None),
        (SampleDropout(1.0), {"loss": SwitchedLossWrapper({"a": PIT, "b": FIXED}, {"a": 0, "b": 1})}, None),
        (SampleDropout(1.0), {"loss": some_unseen()}, None),
        (SampleDropout(1.0, keep_same=False), {"loss": FIXED}, None),
        (SampleDropout(1.0, reset_every_epochs=1), {}, "empties the bank in every epoch"),
        (SampleDropout(1.0, reset_every_epochs=2), {}, None),
        (SampleDropout(1.0, warm_up_epochs=5), {"max_epochs": 5}, "keeps every item in all 5 epochs"),
        (SampleDropout(1.0, warm_up_epochs=5), {"max_epochs": 6}, None),
        (SampleDropout(1.0, warm_up_epochs=5), {"max_epochs": -1}, None),
        (Reweighting(), {}, "alpha=0, there is no schedule, and there is no class_bias"),
        (Reweighting(0.1), {}, None),
        (Reweighting(-0.1), {}, None),
        (Reweighting(schedule=RisingSchedule(0.1, 5)), {"max_epochs": 9}, None),
        (Reweighting(schedule=RisingSchedule(0.0, 5)), {"max_epochs": 9}, "the schedule is 0 in all 9 epochs"),
        (Reweighting(schedule=RisingSchedule(0.0, 5), schedule_unit="step"), {"max_epochs": 9}, None),
        (Reweighting(class_bias=[["dog", 0.0]]), {}, "class_bias favours none"),
        (Reweighting(class_bias=[["dog", 1.0]]), {}, None),
        (Zero(), {}, None),
        (SwitchCounter(), {}, None),
    ],
)
def test_a_part_that_changes_nothing_declares_why(part, plan, why):
    plan = RunPlan(**{"n_src": 2, "loss": PIT, "max_epochs": 10, "callbacks": [part], **plan})
    if why is None:
        assert plan.notes() == []
    else:
        assert len(plan.notes()) == 1
        with pytest.raises(ValueError, match=f"^{type(part).__name__} changes nothing in this run: .*{why}"):
            raise ValueError(plan.notes()[0])


def test_what_is_declared_neutral_is_plain_pit_to_the_bit(tiny_data, tiny_system, tiny_trainer, tmp_path, caplog):
    """And who uses the Trainer is told as well."""

    def trained(*parts):
        system = tiny_system()
        tiny_trainer(tmp_path, parts, max_epochs=2).fit(system, datamodule=tiny_data())
        return torch.cat([p.detach().flatten() for p in system.model.parameters()])

    plain = trained()
    assert "changes nothing" not in caplog.text
    assert torch.equal(trained(SampleDropout()), plain)
    assert caplog.text.count("SampleDropout changes nothing in this run: epsilon_db=inf") == 1
    assert not torch.equal(trained(Reweighting(0.3)), plain)


def test_a_training_says_it_first_and_keeps_it(tmp_path, capsys):
    words = [*SMALL, "data.n_train=8", "logger=none", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    run = tmp_path / "run"
    assert main(["train", "baseline/toy", f"run_dir={run}", *words, "stabilizer=[dsd,reweight]"]) == 0
    out = capsys.readouterr().out
    assert out.index("note: SampleDropout changes nothing in this run: epsilon_db=inf") < out.index("epoch 1/1")
    assert "note: Reweighting changes nothing in this run: alpha=0" in out
    notes = json.loads((run / "versions.json").read_text())["notes"]
    assert [note.split()[0] for note in notes] == ["SampleDropout", "Reweighting"]


@pytest.mark.parametrize("recipe", ["lir/toy", "lir/toy_progressive"])
def test_weights_of_sources_are_refused_where_the_noise_counts(recipe, esc, tmp_path, capsys):
    words = [f"data.noise_root={esc}", "data.n_train=8", "data.n_valid=4", "data.base.n_utterances=1", "logger=none"]
    words += ["loader.segment_s=0.25", "model.n_filters=16", "model.bn_chan=8", "model.upsampling_depth=2"]
    words += ["stabilizer=[reweight]", "stabilizer.reweight.alpha=0.1", "trainer.accelerator=cpu"]
    run = tmp_path / "run"
    assert main(["train", recipe, f"run_dir={run}", *words]) == 2
    assert "weigh mixtures (stabilizer.reweight.level=mixture)" in capsys.readouterr().err
    assert not run.exists()
    epochs = ["trainer.max_epochs=2", "callbacks.progressive.epochs_per_stage=1"] if "prog" in recipe else []
    words += ["stabilizer.reweight.level=mixture", *(epochs or ["trainer.max_epochs=1"]), "loader.batch_size=2"]
    assert main(["train", recipe, f"run_dir={run}", *words, "trainer.limit_train_batches=2"]) == 0
