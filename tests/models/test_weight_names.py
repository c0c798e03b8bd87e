"""Weights under the names that loops, wrappers and hubs give them, by the model's own names."""

import pytest

from asteroid_stab.models.weight_names import fitting_names, held_weights

OWN = ["encoder.weight", "blocks.0.bias", "n"]
VALUES = dict(zip(OWN, (1, 2, 3), strict=True))


@pytest.mark.parametrize(
    "prefix", ["", "model.", "module.", "net.", "_orig_mod.", "model.module.", "module._orig_mod.", "model.net."]
)
@pytest.mark.parametrize("own_prefix", ["", "net."])
def test_prefixes_are_cut_and_the_hosts_is_added(prefix, own_prefix):
    weights = {f"{prefix}{name}": value for name, value in VALUES.items()}
    weights |= {"loss_func.bank": 7} if prefix else {}
    own = [f"{own_prefix}{name}" for name in OWN]
    assert fitting_names(weights, own) == dict(zip(own, (1, 2, 3), strict=True))


def test_wrappers_within_are_left_out():
    weights = {"model.blocks._orig_mod.0.module.bias": 2, "model.encoder.weight": 1}
    assert fitting_names(weights, OWN) == {"blocks.0.bias": 2, "encoder.weight": 1}


def test_own_names_come_first():
    """A model may have a part that is called as a prefix or a wrapper is."""
    own = ["model.net.weight", "module.bias", "model.model.weight"]
    weights = dict(zip(own, (1, 2, 3), strict=True))
    assert fitting_names(weights, own) == weights
    assert fitting_names({f"model.{name}": value for name, value in weights.items()}, own) == weights


def test_names_of_another_model_stay_for_the_message():
    assert fitting_names({"x.weight": 1, "y.bias": 2}, OWN) == {"x.weight": 1, "y.bias": 2}
    assert fitting_names({"model.x.weight": 1, "loss.y": 2}, OWN) == {"x.weight": 1}


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        ({"a.weight": 1}, ({"a.weight": 1}, [])),
        ({"state_dict": {"a": 1}, "epoch": 3}, ({"a": 1}, [])),
        ({"model_state_dict": {"a": 1}}, ({"a": 1}, [])),
        ({"model": {"a": 1}, "optimizer": {"b": 2}}, ({"a": 1}, [])),
        ({"ema": {"a": 1}}, ({"a": 1}, [])),
        ({"ema": {"a": 1}, "model": {"state_dict": {"b": 1}}}, ({"b": 1}, ["ema"])),
        ({"model": "ConvTasNet", "ema": {"a": 1}}, ({"a": 1}, [])),
        ([1], ([1], [])),
    ],
)
def test_where_files_hold_weights(saved, wanted):
    assert held_weights(saved) == wanted
