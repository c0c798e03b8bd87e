"""What ESPnet's model refuses, what it reports, and the files that its trainer writes."""

import sys

import pytest
import toolkit_loops
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.stabilizers import Stabilization

pytestmark = pytest.mark.toolkits


@pytest.fixture(autouse=True)
def _noise(monkeypatch):
    toolkit_loops.use_noise(monkeypatch.setattr)


@pytest.fixture
def batch():
    names, data = next(toolkit_loops.espnet_batches())
    return {"utt_id": names, **data}


def test_its_files_are_plain_espnets_and_averaged(tmp_path):
    toolkit_loops.espnet(tmp_path, epochs=2)
    plain = toolkit_loops.espnet_model(None)
    for file in ("2epoch.pth", "valid.loss.ave_2best.pth"):
        plain.load_state_dict(torch.load(tmp_path / file, weights_only=True))
    assert "stabilization" in torch.load(tmp_path / "checkpoint.pth", weights_only=False)["optimizers"][0]


def test_validation_goes_by_espnets_criteria_and_reports_the_epoch(batch):
    model = toolkit_loops.espnet_model(toolkit_loops.new_stab(toolkit_loops.NAMES))
    plain = toolkit_loops.espnet_model(None, model.separator.net).eval()
    loss, stats, weight = model.train()(**batch)
    assert stats["loss"] == loss.detach()
    assert weight == 1
    _, stats, weight = model.eval()(**batch)
    _, wanted, _ = plain(**batch)
    assert wanted.items() <= stats.items()
    assert {name for name in stats if name.startswith("train_")} >= {"train_kept", "train_loss", "train_top_weight"}
    assert weight == 4


def test_epochs_are_counted_by_validations(batch):
    model = toolkit_loops.espnet_model(toolkit_loops.new_stab(toolkit_loops.NAMES))
    for epoch in range(3):
        model.train()(**batch)
        assert model.stab.progress.clock.epoch == epoch
        model.eval()
        model.eval()  # plots of attention follow the validation
    assert "switch_ratio" in model.figures


def test_an_utterance_in_several_chunks_is_refused(batch):
    model = toolkit_loops.espnet_model(toolkit_loops.new_stab(toolkit_loops.NAMES))
    batch["utt_id"] = batch["utt_id"][:1] * 4  # as ESPnet's chunk iterator gives them
    with pytest.raises(
        ValueError, match="an item may be in a batch once where something remembers items, got id 0 twice"
    ):
        model.train()(**batch)


def test_ids_that_are_not_passed_on_are_asked_for(batch):
    model = toolkit_loops.espnet_model(toolkit_loops.new_stab(toolkit_loops.NAMES))
    del batch["utt_id"]
    with pytest.raises(ValueError, match="SampleDropout goes by items: call the stabilization with ids=, got None"):
        model.train()(**batch)


def test_a_loss_of_noise_is_refused():
    from espnet2.enh.loss.criterions.time_domain import SNRLoss
    from espnet2.enh.loss.wrappers.fixed_order import FixedOrderSolver

    noise = FixedOrderSolver(SNRLoss(is_noise_loss=True))
    with pytest.raises(StabError, match="snr_loss_noise is no loss of speech, on which alone a stabilization trains"):
        toolkit_loops.espnet_model(toolkit_loops.new_stab(toolkit_loops.NAMES), criteria=[noise])


def test_a_model_without_waveforms_and_threads_are_refused(batch, monkeypatch):
    model = toolkit_loops.espnet_model(toolkit_loops.new_stab(toolkit_loops.NAMES)).train()
    message = "needs waveforms that the model estimates, and one process a GPU"
    with monkeypatch.context() as patch:
        patch.setattr(model, "forward_enhance", lambda *_, **__: (None, None, None, {}))
        with pytest.raises(StabError, match=message):
            model(**batch)
    model._is_replica = True  # as DataParallel marks its copies
    with pytest.raises(StabError, match=message):
        model(**batch)


def test_microphones_and_layers(batch):
    """A mixture of two channels, of which the first is the reference, and a list of sources for each layer."""
    from asteroid.losses import pairwise_neg_sisdr

    class TwoLayers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = toolkit_loops.loops.new_model()

        def forward(self, mixture):
            return self.net(mixture[..., 0])

    net = TwoLayers()
    stab = Stabilization(LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr)), items=toolkit_loops.NAMES)
    model = toolkit_loops.espnet_model(stab, net).train()
    enhance = model.forward_enhance

    def layers(*args, **kwargs):
        speech_pre, *rest = enhance(*args, **kwargs)
        return [[source * 0.5 for source in speech_pre], speech_pre], *rest

    model.forward_enhance = layers
    mono = batch["speech_mix"]
    batch["speech_mix"] = torch.stack([mono, torch.zeros_like(mono)], 2)
    loss, _, _ = model(**batch)
    src = torch.stack([batch["speech_ref1"], batch["speech_ref2"]], 1)
    est = net.net(mono)
    assert loss.item() == pytest.approx(stab.loss(torch.stack([est * 0.5, est]), src).item(), rel=1e-5)


def test_without_the_package_the_error_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "espnet2.enh.espnet_model", None)
    monkeypatch.delitem(sys.modules, "asteroid_stab.integrations.espnet", raising=False)
    with pytest.raises(ImportError, match=r"integrations.espnet needs its toolkit .*: pip install --no-deps espnet "):
        import asteroid_stab.integrations.espnet  # noqa: F401
