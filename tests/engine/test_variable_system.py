"""Training on a varying number of sources: silence is learnt, and the validation counts."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import AssignmentTracker, RunCheckpoint
from asteroid_stab.data import MixtureDataModule, VariableSourcesCorpus
from asteroid_stab.engine import StabSystem, VariableSourcesSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, PairwiseNegInactiveSNR
from asteroid_stab.losses.matched import matched_neg_sdr


@pytest.fixture
def data(tiny_corpus):
    parts = {"one": tiny_corpus(n_train=8, n_src=1, n_valid=2), "two": tiny_corpus(n_train=8, n_src=2, n_valid=4)}
    return MixtureDataModule(VariableSourcesCorpus(parts), segment_s=0.1, batch_size=4)


def make_system(model, kind=VariableSourcesSystem, loss=None, **kwargs):
    loss = loss or ExactPITLossWrapper(PairwiseNegInactiveSNR())
    return kind(model, torch.optim.Adam(model.parameters(), lr=1e-2), loss, **kwargs)


class Fixed(torch.nn.Module):
    """Gives the mixture on the first output and a quiet one on the second."""

    def __init__(self, quiet):
        super().__init__()
        self.quiet = torch.nn.Parameter(torch.tensor(quiet))
        self.sample_rate = 8000

    def forward(self, mixture):
        return torch.stack([mixture, self.quiet * mixture], 1)


def test_it_trains_and_logs(tmp_path, data, tiny_model, tiny_trainer):
    system = make_system(tiny_model(2))
    trainer = tiny_trainer(tmp_path, callbacks=[AssignmentTracker(), RunCheckpoint("val/score")], max_epochs=4)
    trainer.fit(system, datamodule=data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val/score"] == -metrics["val/loss"]
    assert 0 <= metrics["val/count_accuracy"] <= 1
    assert metrics["train/silent_sources"] == 0  # they have a loss
    assert {"val/si_sdr", "val/si_sdr_i", "val/si_sdr_single"} <= metrics.keys()
    assert (tmp_path / "best_model.pth").is_file()


@pytest.mark.parametrize(("quiet", "accuracy"), [(0.05, 1 / 3), (0.5, 2 / 3)])
def test_the_validation_is_of_several_sources_and_counts_all(tmp_path, data, tiny_trainer, quiet, accuracy):
    """Two of six mixtures have one source; the second output is active (above -20 dB) at 0.5 and not at 0.05."""
    trainer = tiny_trainer(tmp_path)
    trainer.validate(make_system(Fixed(quiet)), datamodule=data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["val/count_accuracy"] == pytest.approx(accuracy)
    valid = data.corpus.dataset("valid", 0.1)
    several = [item for item in valid if valid.n_active[item[2]] > 1]
    mixtures, sources = torch.stack([item[0] for item in several]), torch.stack([item[1] for item in several])
    wanted = -matched_neg_sdr(mixtures.unsqueeze(1).expand_as(sources), sources).mean()
    assert metrics["val/si_sdr"] == pytest.approx(float(wanted), abs=1e-3)
    assert metrics["val/si_sdr_i"] == pytest.approx(0, abs=1e-3)
    assert metrics["val/si_sdr_single"] > 60  # the mixture is the source


def test_a_level_of_one_s_own(tmp_path, data, tiny_trainer):
    trainer = tiny_trainer(tmp_path)
    trainer.validate(make_system(Fixed(0.05), active_db=-30.0), datamodule=data, verbose=False)
    assert float(trainer.callback_metrics["val/count_accuracy"]) == pytest.approx(2 / 3)


def test_a_loss_that_leaves_silence_out_is_refused(tmp_path, data, tiny_model, tiny_trainer):
    system = make_system(tiny_model(2), loss=ExactPITLossWrapper(pairwise_neg_sisdr))
    with pytest.raises(StabError, match=r"ExactPITLossWrapper leaves silent targets out.*set loss=inactive"):
        tiny_trainer(tmp_path).fit(system, datamodule=data)


def test_the_plain_step_refuses_such_data(tmp_path, data, tiny_model, tiny_trainer):
    system = make_system(tiny_model(2), StabSystem)
    with pytest.raises(StabError, match=r"data are for separation of a varying.*data=variable and system=variable"):
        tiny_trainer(tmp_path).fit(system, datamodule=data)


@pytest.mark.parametrize("active_db", [0.0, 3, float("nan"), True])
def test_a_level_that_is_none(tiny_model, active_db):
    with pytest.raises(ValueError, match="active_db must be a number below 0, got"):
        make_system(tiny_model(2), active_db=active_db)
