"""SepFormer of SpeechBrain and TF-GridNet of ESPnet: hosted by recipes, with layers, resumed, on two ranks."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from runs import assert_same_weights, stab

from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.models import layered_model, load_model
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.network import build_network

pytestmark = pytest.mark.toolkits
DATA = [
    *("data=toy", "data.n_train=8", "data.n_valid=4", "data.n_test=2", "data.n_utterances=2", "loader.num_workers=0"),
    *("loader.segment_s=0.5", "loader.batch_size=2", "trainer.accelerator=cpu", "logger=none", "scheduler=none"),
]
SMALL = {
    "sepformer": [
        *(f"+model.net.{name}_numlayers=1" for name in ("intra", "inter")),
        *(f"+model.net.{name}_nhead=2" for name in ("intra", "inter")),
        *(f"+model.net.{name}_dffn=16" for name in ("intra", "inter")),
        *("+model.net.encoder_out_nchannels=16", "+model.net.masknet_chunksize=20"),
    ],
    "tfgridnet": [
        *("model.net.n_fft=64", "model.net.stride=32", "model.net.n_layers=2", "model.net.lstm_hidden_units=8"),
        *("model.net.attn_n_head=2", "model.net.attn_approx_qk_dim=32", "model.net.emb_dim=8"),
    ],
}
LAYERS = {"sepformer": "masknet.dual_mdl.*", "tfgridnet": "blocks.*"}
every = pytest.mark.parametrize("name", SMALL)


def build(name, seed=0):
    config = compose_recipe(f"dsd_lo/librimix_{name}", [*DATA, *SMALL[name]])
    torch.manual_seed(seed)
    corpus = type("Corpus", (), {"n_src": 2, "sample_rate": 8000})
    return build_network(config.model, corpus)


@every
def test_the_last_layer_is_the_plain_net_and_gradients_reach_all(name):
    model, x = build(name), torch.randn(2, 4000)
    plain = model.eval()(x).detach()
    layered = layered_model(model, layers=LAYERS[name])
    assert layered.n_layers == 2
    torch.testing.assert_close(layered.eval()(x), plain, rtol=0, atol=1e-6)
    est = layered.train()(x)
    assert est.shape == (2, 2, 2, 4000)
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    loss(est, torch.randn(2, 2, 4000)).backward()
    assert [name for name, p in layered.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    early = torch.autograd.grad(layered(x)[0].square().sum(), list(layered.parameters()), allow_unused=True)
    assert sum(grad is not None for grad in early) > len(early) / 2


@every
def test_it_trains_and_goes_on_from_its_recipe(name, tmp_path):
    """Two epochs equal one and one; the model file gives the estimates of the training's model."""
    words = ["train", f"dsd_lo/librimix_{name}", *DATA, *SMALL[name]]
    stab(*words, f"run_dir={tmp_path / 'whole'}", "trainer.max_epochs=2")
    stab(*words, f"run_dir={tmp_path / 'parts'}", "trainer.max_epochs=1")
    stab("train", f"resume={tmp_path / 'parts'}", "trainer.max_epochs=2")
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")
    trained = load_model(tmp_path / "whole", trust=["speechbrain", "espnet2"])
    assert trained(torch.randn(1, 2000)).shape == (1, 2, 2000)
    stab("evaluate", tmp_path / "whole", "--metrics", "si_sdr", "--n-jobs", "1")


def test_two_ranks_train_as_one(tmp_path):
    """TF-GridNet in float64, in which rounding does not show."""
    words = ["train", "dsd_lo/librimix_tfgridnet", *DATA, *SMALL["tfgridnet"], "trainer.precision=64-true"]
    stab(*words, f"run_dir={tmp_path / 'one'}", "trainer.max_epochs=1")
    stab(*words, f"run_dir={tmp_path / 'two'}", "trainer.max_epochs=1", "trainer=ddp", "trainer.devices=2",
         "loader.batch_size=1")  # fmt: skip
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-6)
