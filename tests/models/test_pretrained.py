"""Starting a model with the weights of another."""

import own_nets
import pytest
import pytorch_lightning as pl
import torch
from asteroid.engine import System
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr, singlesrc_neg_sisdr
from asteroid.models import DPRNNTasNet
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.models import LatentRefinementNet, conv_tasnet, hosted, load_model, load_pretrained, save_model

OUTPUT = ["masker.mask_net.1.weight", "masker.mask_net.1.bias"]


def same(a, b, but=()):
    return {key for key in a if not torch.equal(a[key], b[key])} <= set(but)


@pytest.mark.parametrize("kind", ["file", "folder", "checkpoint", "state_dict"])
def test_all_weights_are_taken(tmp_path, tiny_model, kind):
    source, model = tiny_model(seed=1), tiny_model(seed=0)
    assert not same(source.state_dict(), model.state_dict())
    file = tmp_path / "best_model.pth"
    if kind in ("file", "folder"):
        save_model(source, file)
    elif kind == "checkpoint":
        weights = {f"model.{key}": value for key, value in source.state_dict().items()}
        torch.save({"state_dict": {**weights, "loss_func.encoder.0.bias": torch.zeros(1)}, "epoch": 3}, file)
    else:
        torch.save(source.state_dict(), file)
    loaded, new, left_out = load_pretrained(model, tmp_path if kind == "folder" else file)
    assert (sorted(loaded), new, left_out) == (sorted(model.state_dict()), [], [])
    assert same(source.state_dict(), model.state_dict())


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "net.", "_orig_mod.", "model.module."])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "ema"])
def test_state_dicts_of_hubs_are_taken(tmp_path, tiny_model, key, prefix):
    source, model = tiny_model(seed=1), tiny_model(seed=0)
    weights = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    torch.save(weights if key is None else {key: weights, "epoch": 3, "config": {"a": [1]}}, tmp_path / "hub.pth")
    loaded, new, left_out = load_pretrained(model, tmp_path / "hub.pth")
    assert (sorted(loaded), new, left_out) == (sorted(model.state_dict()), [], [])
    assert same(source.state_dict(), model.state_dict())


def test_of_several_weights_the_others_are_named(tmp_path, tiny_model):
    source, model = tiny_model(seed=1), tiny_model(seed=0)
    averaged = {name: torch.zeros_like(value) for name, value in source.state_dict().items()}
    torch.save({"ema": averaged, "model": source.state_dict()}, tmp_path / "hub.pth")
    assert load_pretrained(model, tmp_path / "hub.pth").left_out == ["all of ema"]
    assert same(source.state_dict(), model.state_dict())


@pytest.mark.parametrize("prefix", ["", "model.", "net.", "model.net.", "module."])
def test_a_plain_nets_weights_start_its_hosted_form(tmp_path, prefix):
    torch.manual_seed(1)
    net = own_nets.TinyMask()
    torch.save({f"{prefix}{name}": value for name, value in net.state_dict().items()}, tmp_path / "net.pth")
    model = hosted(own_nets.TinyMask, n_src=2, sample_rate=8000)
    assert load_pretrained(model, tmp_path / "net.pth").new == []
    assert same(net.state_dict(), model.net.state_dict())


def test_a_checkpoint_of_an_asteroid_recipe_is_taken(tmp_path, tiny_model):
    """Written by Asteroid's own System and Lightning, with what both put into it."""
    source, model = tiny_model(seed=1), tiny_model(seed=0)
    loader = torch.utils.data.DataLoader([(torch.randn(400), torch.randn(2, 400)) for _ in range(2)], batch_size=2)
    optimizer = torch.optim.Adam([p for p in source.parameters() if p.requires_grad])
    config = {"optim": {"lr": 1e-3}, "main_args": {"help": None}}
    kept = ModelCheckpoint(tmp_path, monitor="val_loss")
    system = System(source, optimizer, PITLossWrapper(pairwise_neg_sisdr), loader, loader, config=config)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[kept, EarlyStopping("val_loss")], default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(system)
    assert load_pretrained(model, kept.best_model_path).new == []
    assert same(source.state_dict(), model.state_dict())
    with pytest.raises(StabError, match=r"lacks model_name, model_args: it is a training checkpoint.*init.path="):
        load_model(kept.best_model_path)


def test_a_crafted_pickle_does_not_run(tmp_path, tiny_model):
    class Evil:
        """Writes a file when it is unpickled."""

        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    for content in ({"state_dict": {"a": Evil()}}, {"model": Evil(), "ema": {}}, Evil()):
        torch.save(content, tmp_path / "evil.pth")
        for read in (load_model, lambda file: load_pretrained(tiny_model(), file)):
            with pytest.raises(StabError, match=r"no readable model file: it holds a .*open, which is more than data"):
                read(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("n_src", [2, 3, 5])
def test_all_but_the_output_layer(tmp_path, tiny_model, n_src):
    source, model = tiny_model(n_src=1, seed=1), tiny_model(n_src=n_src)
    new = {key: model.state_dict()[key].clone() for key in OUTPUT}
    save_model(source, tmp_path / "best_model.pth")
    loaded, left, left_out = load_pretrained(model, tmp_path, new_output=True)
    assert left == left_out == OUTPUT
    assert sorted([*loaded, *left]) == sorted(model.state_dict())
    taken = model.state_dict()
    assert all(torch.equal(taken[key], new[key]) for key in OUTPUT)
    assert all(torch.equal(taken[key], value) for key, value in source.state_dict().items() if key not in OUTPUT)


def test_the_output_layer_of_dual_path_models(tmp_path):
    make = {"n_filters": 8, "bn_chan": 4, "hid_size": 4, "chunk_size": 10, "n_repeats": 1}
    torch.save(DPRNNTasNet(1, **make).state_dict(), tmp_path / "a.pth")
    transfer = load_pretrained(DPRNNTasNet(2, **make), tmp_path / "a.pth", new_output=True)
    assert transfer.new == ["masker.first_out.1.weight", "masker.first_out.1.bias"]


def test_what_does_not_fit_is_told(tmp_path, tiny_model):
    save_model(tiny_model(n_src=1), tmp_path / "best_model.pth")
    with pytest.raises(StabError, match=r"mask_net.1.weight is \[32, 8, 1\], not \[64, 8, 1\].*init.new_output=true"):
        load_pretrained(tiny_model(), tmp_path)
    weights = tiny_model().state_dict()
    weights.pop("encoder.filterbank._filters")
    torch.save({**weights, "extra": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(StabError, match=r"_filters is missing, extra is not in the model"):
        load_pretrained(tiny_model(), tmp_path / "b.pth", new_output=True)
    with pytest.raises(StabError, match="Linear has no output layer"):
        load_pretrained(torch.nn.Linear(1, 1), tmp_path / "b.pth", new_output=True)


@pytest.mark.parametrize("kind", ["file", "checkpoint"])
def test_another_sample_rate_is_told(tmp_path, tiny_model, kind):
    source = conv_tasnet(2, 16_000, 32, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=16, skip_chan=8)
    file = tmp_path / "best_model.pth"
    if kind == "file":
        save_model(source, file)
    else:
        weights = {f"model.{key}": value for key, value in source.state_dict().items()}
        torch.save({"state_dict": weights, "training_config": {"model": {"sample_rate": 16_000}}}, file)
    with pytest.raises(StabError, match=r"best_model.pth are another model's: sample_rate is 16000.*, not 8000"):
        load_pretrained(tiny_model(), file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("stride", 4, "stride is 4, not 8"), ("mask_act", "sigmoid", "mask_act is sigmoid, not relu")],
)
def test_another_model_of_the_same_shapes_is_told(tmp_path, tiny_model, name, value, message):
    size = {"n_filters": 32, "n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8, "stride": 8}
    save_model(conv_tasnet(2, **{**size, "mask_act": "relu", name: value}), tmp_path / "best_model.pth")
    with pytest.raises(StabError, match=f"another model's: {message}"):
        load_pretrained(tiny_model(), tmp_path)


def test_with_one_source_the_loss_is_the_plain_one_and_reaches_the_encoder(tmp_path, tiny_model):
    """Speech enhancement, from the start and after a transfer."""
    save_model(tiny_model(n_src=1, seed=1), tmp_path / "best_model.pth")
    model = tiny_model(n_src=1)
    load_pretrained(model, tmp_path)
    mixture, speech = torch.randn(2, 3, 800)
    est = model(mixture)
    loss = ExactPITLossWrapper(pairwise_neg_sisdr)(est, speech.unsqueeze(1))
    torch.testing.assert_close(loss, singlesrc_neg_sisdr(est[:, 0], speech).mean(), rtol=1e-5, atol=1e-5)
    loss.backward()
    assert model.encoder.filterbank._filters.grad.abs().sum() > 0


def test_a_network_without_gates_starts_one_with(tmp_path):
    size = {"n_filters": 16, "bn_chan": 8, "upsampling_depth": 2, "gate_segment_s": 0.1}
    plain, gated = (LatentRefinementNet(2, gate=gate, n_iterations=2, **size) for gate in (False, True))
    save_model(plain, tmp_path / "best_model.pth")
    with pytest.raises(
        StabError, match=r"gates.0.by_frame.weight is missing.*trained without gates\? init.new_gate=true"
    ):
        load_pretrained(gated, tmp_path)
    transfer = load_pretrained(gated, tmp_path, new_gate=True)
    assert {name.split(".")[1] for name in transfer.new} == {"gates"}
    assert transfer.left_out == []
    assert all(torch.equal(gated.state_dict()[name], value) for name, value in plain.state_dict().items())
    with pytest.raises(StabError, match="LatentRefinementNet has no gate to leave new"):
        load_pretrained(plain, tmp_path, new_gate=True)


def test_what_holds_no_weights_is_told(tmp_path, tiny_model):
    with pytest.raises(StabError, match=r"no weights to start with at .*none.pth"):
        load_pretrained(tiny_model(), tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("nothing")
    with pytest.raises(StabError, match=r"text.pth' is no readable model file"):
        load_pretrained(tiny_model(), tmp_path / "text.pth")
    (tmp_path / "table.csv").write_text("epoch,step\n0,1\n")
    with pytest.raises(StabError, match="table.csv' is no readable model file"):
        load_pretrained(tiny_model(), tmp_path / "table.csv")
    assert load_pretrained(tiny_model()).loaded == []
    with pytest.raises(StabError, match="new_output and new_gate need the path"):
        load_pretrained(tiny_model(), new_output=True)
    for i, content in enumerate(({}, {"state_dict": {}}, {"a": 1}, [1])):
        torch.save(content, tmp_path / f"{i}.pth")
        with pytest.raises(StabError, match="holds no weights"):
            load_pretrained(tiny_model(), tmp_path / f"{i}.pth")


REFINER = {"n_filters": 16, "bn_chan": 8, "upsampling_depth": 2, "gate_segment_s": 0.1}


def test_a_network_with_other_outputs_is_told_though_the_shapes_are_equal(tmp_path):
    save_model(LatentRefinementNet(2, noise_slot=False, **REFINER), tmp_path / "best_model.pth")
    with pytest.raises(StabError, match="noise_slot is False, not True"):
        load_pretrained(LatentRefinementNet(1, noise_slot=True, **REFINER), tmp_path)
    load_pretrained(LatentRefinementNet(1, noise_slot=True, **REFINER), tmp_path, new_output=True)


@pytest.mark.parametrize("own_heads", [False, True])
def test_a_refining_network_for_more_speakers(tmp_path, own_heads):
    """Its decoder mixes the outputs, so that it is left new with the masks."""
    layout = {**REFINER, "n_blocks": 2, "own_heads": own_heads}
    one, two = LatentRefinementNet(1, **layout), LatentRefinementNet(2, **layout)
    save_model(one, tmp_path / "best_model.pth")
    with pytest.raises(StabError, match=r"decoder.weight is .*init.new_output=true leaves what makes them new"):
        load_pretrained(two, tmp_path)
    transfer = load_pretrained(two, tmp_path, new_output=True)
    assert {name.split(".")[0] for name in transfer.new} == {
        "masker",
        "decoder",
        *(["early_heads"] if own_heads else []),
    }
    assert {name for name in transfer.new if name.startswith("masker")} == set(OUTPUT)
    taken = two.state_dict()
    assert all(torch.equal(taken[name], value) for name, value in one.state_dict().items() if name in transfer.loaded)


def test_hints_are_of_what_does_not_fit(tmp_path):
    save_model(LatentRefinementNet(2, gate=True, **REFINER), tmp_path / "best_model.pth")
    longer = LatentRefinementNet(2, gate=True, **{**REFINER, "gate_segment_s": 0.2})
    with pytest.raises(StabError, match=r"\(gates for another length, model.gate_segment_s\?"):
        load_pretrained(longer, tmp_path)
    with pytest.raises(StabError) as told:
        load_pretrained(LatentRefinementNet(2, gate=True, n_blocks=2, **REFINER), tmp_path)
    assert "init." not in str(told.value)
