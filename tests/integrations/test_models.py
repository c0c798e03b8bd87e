"""SepFormer of SpeechBrain and TF-GridNet of ESPnet: hosted by recipes, with layers, resumed, on two ranks."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from hosted_recipes import OF_PACKAGES
from runs import assert_same_weights, stab
from trees import wham

from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.models import layered_model, load_model
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.network import build_network
from asteroid_stab.run.stored import read_config
from asteroid_stab.run.study_rows import read_rows
from asteroid_stab.trust import check_stored

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


@pytest.mark.parametrize(
    ("name", "more"), [("tfgridnet", []), ("sepformer", ["model.net._target_=no_dropout.Sepformer"])]
)
def test_two_ranks_train_as_one(tmp_path, name, more):
    """In float64, in which rounding does not show; SepFormer without its dropout, which differs by rank."""
    words = ["train", f"dsd_lo/librimix_{name}", *DATA, *SMALL[name], *more, "trainer.precision=64-true"]
    stab(*words, f"run_dir={tmp_path / 'one'}", "trainer.max_epochs=1")
    stab(*words, f"run_dir={tmp_path / 'two'}", "trainer.max_epochs=1", "trainer=ddp", "trainer.devices=2",
         "loader.batch_size=1")  # fmt: skip
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-6)


def n_parameters(config):
    """Number of parameters of the model of a config, in millions."""
    corpus = type("Corpus", (), {"n_src": config.data.n_src, "sample_rate": 8000})
    with torch.device("meta"):  # no weights: SpeechBrain draws its own again and again
        return sum(p.numel() for p in build_network(config.model, corpus).parameters()) / 1e6


@pytest.mark.parametrize("recipe", OF_PACKAGES)
def test_every_recipe_fits_its_package_and_names_parts_only(recipe):
    config = compose_recipe(recipe)
    check_stored(config, "", "config.yaml", ("speechbrain", "espnet2"))
    assert round(n_parameters(config)) == {"sepformer": 26, "tfgridnet": 8}[recipe.rpartition("_")[2]]


def test_sepformer_of_table_1_has_the_size_of_its_card_and_the_training_of_the_other_rows():
    """25.7 M parameters in the paper, which has an output for the noise besides, so that both tasks round to it."""
    rows = read_rows([Path(__file__).parents[2] / "egs/wham/sepformer.rows"])
    sizes, others = {}, compose_recipe("lir/wham_sep")
    for row in rows:
        config = compose_recipe(row.recipe, row.words)
        sizes[row.name] = round(n_parameters(config), 2)
        assert config.data.task == {"enh": "enh_single", "sep": "sep_noisy"}[row.name[:3]]
        for part in ("loader", "optim", "scheduler", "trainer"):
            assert config[part] == others[part]
    assert sizes == {"enh_sepformer": 25.61, "sep_sepformer": 25.68}
    assert round(n_parameters(compose_recipe("lir/wham_sepformer", ["model.net.masknet_numspks=3"])), 2) == 25.75


def test_sepformer_of_table_1_trains(tmp_path):
    wham(tmp_path / "wham")
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "loader.segment_s=0.5", "loader.batch_size=2"]
    short += ["loader.num_workers=0", "trainer.accelerator=cpu", "logger=none", *SMALL["sepformer"]]
    stab("train", "lir/wham_sepformer", f"data.root={tmp_path / 'wham'}", f"run_dir={tmp_path / 'run'}", *short)
    assert pd.read_csv(tmp_path / "run/metrics.csv")["step"].tolist() == [2]


def test_sepformer_is_fine_tuned_from_its_pre_training(esc, tmp_path):
    """All but the layer that makes the sources' channels begins as the enhancement left it."""
    small = [*DATA, *SMALL["sepformer"], "trainer.max_epochs=1", "trainer.limit_train_batches=2"]
    noisy = ["data=noisy", f"data.noise_root={esc}", f"data.cache_dir={tmp_path / 'cache'}", *small[1:]]
    noisy = [word.replace("data.n_utterances", "data.base.n_utterances") for word in noisy]
    before, after = tmp_path / "before", tmp_path / "after"
    stab("train", "ssl/pretrain_se_libri1mix_sepformer", *noisy, f"run_dir={before}")
    begins = [f"init.path={before}", "optim.lr=0"]
    printed = stab("train", "ssl/finetune_libri2mix_sepformer", *small, *begins, f"run_dir={after}").stdout
    assert "masknet.conv2d" in printed
    nets = [load_model(run, trust=["speechbrain"]).state_dict() for run in (before, after)]
    other = {name for name in nets[0] if not torch.equal(nets[0][name], nets[1][name])}
    assert {name.rpartition("masknet.")[2] for name in other} == {"conv2d.weight", "conv2d.bias"}
    config = read_config(after / "config.yaml")
    assert (config["init"]["new_output"], config["model"]["net"]["masknet_numspks"]) == (True, 2)
