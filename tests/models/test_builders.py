"""Models behind explicit signatures are the host's, and their configs fit."""

import inspect

import pytest
import torch
from asteroid.models import BaseModel, ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet

from asteroid_stab.models import conv_tasnet, dprnn_tasnet, dptnet, save_model, sudormrf
from asteroid_stab.run.compose import compose_recipe

BUILDERS = {
    "convtasnet": (conv_tasnet, ConvTasNet, {}),
    "dprnn": (dprnn_tasnet, DPRNNTasNet, {"hid_size": 8, "bn_chan": 8}),
    "dptnet": (dptnet, DPTNet, {"ff_hid": 8}),
    "sudormrf": (sudormrf, SuDORMRFImprovedNet, {"num_blocks": 2, "bn_chan": 8, "n_filters": 16}),
}
every_builder = pytest.mark.parametrize("name", BUILDERS)


@every_builder
def test_it_is_the_hosts_model(name, tmp_path):
    build, host, size = BUILDERS[name]
    torch.manual_seed(0)
    theirs = host(2, **size)
    torch.manual_seed(0)
    mine = build(2, **size)
    wav = torch.randn(1, 1600)
    torch.testing.assert_close(mine(wav), theirs(wav), rtol=1e-4, atol=1e-5)
    save_model(mine, tmp_path / "m.pth")
    assert type(BaseModel.from_pretrained(str(tmp_path / "m.pth"))) is host


@every_builder
def test_defaults_are_the_hosts(name):
    build, host, _ = BUILDERS[name]
    theirs = inspect.signature(host).parameters
    for key, parameter in inspect.signature(build).parameters.items():
        if key != "n_src" and key in theirs:
            assert parameter.default == theirs[key].default, key


@every_builder
def test_the_config_has_the_defaults(name):
    build = BUILDERS[name][0]
    config = compose_recipe("baseline/toy", [f"model={name}"] if name != "convtasnet" else ["model=convtasnet"])
    defaults = inspect.signature(build).parameters
    for key, value in config.model.items():
        if key not in ("_target_", "n_src", "mask_act"):
            assert value == defaults[key].default, key
