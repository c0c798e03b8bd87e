"""The network of a run: an Asteroid model is built, any other module is hosted and tried before a file is written."""

import own_nets
import pytest
import torch
from omegaconf import OmegaConf
from runs import assert_same_weights

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.models import HostedModel
from asteroid_stab.run import build, network
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.network import build_network, try_network

NET = {"_target_": "own_nets.TinyMask", "hidden": 4}
WORDS = ["baseline/toy", "logger=none", "data.n_train=8", "data.n_valid=4", "data.n_test=2", "data.n_utterances=1",
         "loader.segment_s=0.5", "loader.batch_size=4", "trainer.accelerator=cpu", "trainer.max_epochs=1"]  # fmt: skip


def built(corpus, **node):
    return build_network(OmegaConf.create(node), corpus)


@pytest.mark.parametrize("n_src", [2, 3])
def test_a_module_is_hosted_by_itself(tiny_corpus, n_src):
    model = built(tiny_corpus(n_src=n_src), **NET, n_speakers=n_src)
    assert isinstance(model, HostedModel)
    assert (model.n_src, model.sample_rate) == (n_src, 8000)
    assert type(model.net) is own_nets.TinyMask
    assert model.get_model_args()["args"] == {"hidden": 4, "n_speakers": n_src}
    assert model.get_model_args()["inputs"] == "time"


def test_its_own_number_of_sources_counts(tiny_corpus):
    node = {"_target_": "own_nets.Lasting"}
    assert built(tiny_corpus(), **node).n_src == 2
    with pytest.raises(StabError, match="model: own_nets.Lasting cannot be built with these arguments: Type.*n_src"):
        built(tiny_corpus(), **node, n_src=3)


def test_it_is_hosted_as_the_user_says(tiny_corpus):
    node = {"net": {**NET, "norm": {"_target_": "torch.nn.Identity"}}, "n_src": 3, "sample_rate": 16_000}
    model = built(tiny_corpus(), _target_="asteroid_stab.models.hosted", **node, outputs="list", output_layers=["mask"])
    assert (model.n_src, model.sample_rate, model.output_layers) == (3, 16_000, ("net.mask",))
    assert isinstance(model.net.norm, torch.nn.Identity)
    assert model.get_model_args()["args"]["norm"] == {"_target_": "torch.nn.Identity"}


@pytest.mark.parametrize("key", ["_args_", "_partial_"])
def test_its_arguments_have_names(tiny_corpus, key):
    with pytest.raises(StabError, match=f"model: asteroid_stab.models.hosted takes .* by name, and no {key}"):
        built(tiny_corpus(), _target_="asteroid_stab.models.hosted", net=NET, n_src=2, sample_rate=8000, **{key: [1]})


def test_positional_arguments_of_the_net_are_kept(tiny_corpus):
    model = built(tiny_corpus(), _target_="own_nets.TinyMask", _args_=[4])
    assert model.get_model_args()["args"] == {"_args_": [4]}
    assert model.net.encoder.out_channels == 4


def test_asteroid_models_stay_as_they_are(tiny_corpus):
    size = {"n_src": 2, "n_filters": 16, "n_blocks": 2, "n_repeats": 1, "bn_chan": 4, "hid_chan": 8, "skip_chan": 4}
    for target in ("asteroid_stab.models.conv_tasnet", "asteroid.models.ConvTasNet"):
        model = built(tiny_corpus(), _target_=target, **size, sample_rate=8000)
        assert type(model).__name__ == "ConvTasNet"
    with pytest.raises(StabError, match="model must have a sample_rate, and this ConvTasNet has none"):
        built(tiny_corpus(), _target_="asteroid.models.ConvTasNet", **size, sample_rate=None)


def test_a_function_that_gives_a_plain_module_is_refused(tiny_corpus):
    with pytest.raises(StabError, match="own_nets.no_net gives a TinyMask: name its class, so that its model file can"):
        built(tiny_corpus(), _target_="own_nets.no_net")


def test_only_hosted_models_are_tried(tiny_model):
    class Fails(type(tiny_model())):
        """Must not be called."""

        def forward(self, wav):
            raise AssertionError

    model = tiny_model()
    model.__class__ = Fails
    try_network(model, 800, "cpu")


def test_a_net_that_needs_a_gpu_is_tried_there(monkeypatch, tiny_corpus):
    tried = []

    def probe(model, n_samples, device="cpu"):
        tried.append(device)
        if device == "cpu":
            raise StabError("this kernel needs CUDA")

    model = built(tiny_corpus(), **NET)
    monkeypatch.setattr(network, "probe", probe)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    try_network(model, 800, "auto")
    assert tried == ["cpu", "cuda:1"]
    with pytest.raises(StabError, match="model: this kernel needs CUDA"):
        try_network(model, 800, "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StabError, match="this kernel needs CUDA"):
        try_network(model, 800, "gpu")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["+model.net._target_=own_nets.Flat"],
            r"own_nets.Flat must give \[B, J, T\] with B=2, J=2, T=4000, got \[2",
        ),
        (["+model.net._target_=own_nets.NotFinite"], "own_nets.NotFinite gives estimates that are not finite"),
        (["model.net={_target_: own_nets.TinyMask, n_speakers: 3}"], r"J=2, T=4000, got \[2, 3, 4000\]"),
        (
            ["model.net={_target_: own_nets.TinyMask, n_speakers: 3}", "model.n_src=3"],
            "the model gives 3 estimates .* but the data have 2 sources in a mixture",
        ),
        (
            ["model.net={_target_: own_nets.TinyMask, hiden: 3}"],
            "model.net.hiden: .* takes no 'hiden' .did you mean",
        ),
        ([], "model.net must be given"),
        (["model.net=own_nets.TinyMask"], "model.net: must be .*got 'own_nets.TinyMask'"),
        (
            ["+model.net._target_=own_nets.Flat", "model.outputs={_target_: own_nets.two_of}"],
            "model.outputs.output: own_nets.two_of needs it",
        ),
    ],
)
def test_what_cannot_work_is_reported_before_a_file_is_written(tmp_path, capsys, words, message):
    assert main(["train", *WORDS, "model=hosted", *words, f"run_dir={tmp_path / 'run'}"]) == 2
    assert not (tmp_path / "run").exists()
    with pytest.raises(StabError, match=message):
        raise StabError(capsys.readouterr().err)


def test_a_training_draws_the_same_without_the_trial(tmp_path, monkeypatch):
    words = [*WORDS, "model=hosted", "model.net={_target_: own_nets.TinyMask, dropout: 0.5}"]
    assert main(["train", *words, f"run_dir={tmp_path / 'a'}"]) == 0
    monkeypatch.setattr(build, "try_network", lambda *args: None)
    assert main(["train", *words, f"run_dir={tmp_path / 'b'}"]) == 0
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_its_parts_are_frozen_and_have_rates(tmp_path):
    words = [*WORDS, "model=hosted", "model.net={_target_: own_nets.TinyMask}", "callbacks=[tracker,freeze]"]
    words += ["callbacks.freeze.parts=[net.encoder]", "lr_factors=[[net.mask, 0]]"]
    assert main(["train", *words, f"run_dir={tmp_path / 'run'}"]) == 0
    trained = torch.load(tmp_path / "run" / "best_model.pth", weights_only=True)["state_dict"]
    started = build.build_run(RunFolder(tmp_path / "run").config).network.state_dict()
    moved = {name for name, value in started.items() if not torch.equal(value, trained[name])}
    assert {name.split(".")[1] for name in moved} == {"norm", "decoder"}
