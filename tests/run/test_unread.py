"""Every key of every ingredient is read: another value makes another object, or is refused."""

import functools
import hashlib
import math
from pathlib import Path

import asteroid_stab.conf
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from asteroid_stab.data import ToyCorpus
from asteroid_stab.errors import StabError
from asteroid_stab.run.build import build_run
from asteroid_stab.run.check import build, check_config
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.network import build_network

CONF = Path(next(iter(asteroid_stab.conf.__path__)))
SMALL = {
    "convtasnet": ["n_filters=16", "n_blocks=2", "n_repeats=1", "bn_chan=4", "hid_chan=4", "skip_chan=4"],
    "convtasnet_small": ["n_filters=16", "n_blocks=2", "bn_chan=4", "hid_chan=4", "skip_chan=4"],
    "convtasnet_mics": ["n_filters=16", "n_spatial=4", "n_blocks=2", "n_repeats=1", "bn_chan=4", "hid_chan=4"],
    "fasnet_tac": ["enc_dim=4", "feature_dim=4", "hidden_dim=4", "n_layers=1", "tac_hidden_dim=4"],
    "dprnn": ["n_filters=16", "n_repeats=1", "bn_chan=4", "hid_size=4"],
    "dptnet": ["n_filters=16", "n_repeats=1", "ff_hid=4"],
    "sudormrf": ["n_filters=16", "bn_chan=4", "num_blocks=1", "upsampling_depth=2"],
    "hosted": ["net={_target_: torch.nn.Conv1d, in_channels: 1, out_channels: 2, kernel_size: 3}"],
    "refiner": ["n_filters=16", "bn_chan=4", "upsampling_depth=2", "gate=true"],
}
LEFT_OUT = ("none", "plain", "wandb", "mlflow", "sepformer", "tfgridnet")  # no change, or packages that are not here
OPTIONS = sorted((file.parent.name, file.stem) for file in CONF.glob("*/*.yaml") if file.stem not in LEFT_OUT)
NEED = {"progressive": ["callbacks.progressive.epochs_per_stage=2"], "fixed": ["loss.run=null"]}
NEED |= {"attn_hun": ["loss.first_epoch.pit=3"], "attn_sink": ["loss.first_epoch.sinkpit=3"]}
NEED |= {"mcl_hun": ["loss.first_epoch.pit=3"]}
UNSEEN = {
    "trainer.enable_model_summary": "whether a callback prints the model; tested by Lightning",
    "trainer.benchmark": "of CUDA",
}


def described(thing, seen=()):
    """What an object holds, as plain values."""
    if isinstance(thing, torch.Tensor):
        return hashlib.sha256(thing.detach().cpu().numpy().tobytes()).hexdigest()
    if isinstance(thing, (str, bytes, int, float, bool, type(None), Path)):
        return str(thing)
    if id(thing) in seen or len(seen) > 12:
        return "..."
    seen = (*seen, id(thing))
    if isinstance(thing, functools.partial):
        return [described(part, seen) for part in (thing.func, thing.args, thing.keywords)]
    if isinstance(thing, dict):
        return {str(key): described(value, seen) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, set, frozenset)):
        return [described(value, seen) for value in thing]
    if isinstance(thing, (torch.Generator, np.ndarray)) or not hasattr(thing, "__dict__"):
        return type(thing).__name__
    if isinstance(thing, type) or (callable(thing) and not isinstance(thing, torch.nn.Module)):
        return [getattr(thing, "__qualname__", type(thing).__name__), described(getattr(thing, "__dict__", {}), seen)]
    return {"is": type(thing).__name__, **{key: described(value, seen) for key, value in vars(thing).items()}}


def made(node, group):
    """The object of a part; of a group of parts, all of them."""
    torch.manual_seed(0)
    check_config(node, group)
    if group == "model":
        return build_network(node, ToyCorpus())
    part = node if "_target_" in node else node[next(iter(node))]
    if part.get("_partial_", False):
        return build(part, *arguments(group, part))
    return build(part)


def arguments(group, part):
    from asteroid.losses import PairwiseNegSDR

    from asteroid_stab.losses import ExactPITLossWrapper
    from asteroid_stab.models import LatentRefinementNet, conv_tasnet

    parameters = [torch.nn.Parameter(torch.zeros(3))]
    if group == "optim":
        return [parameters]
    if group == "scheduler":
        return [torch.optim.Adam(parameters)]
    if group == "loader":
        return [ToyCorpus()]
    small = {"n_filters": 16, "n_blocks": 2, "n_repeats": 2, "bn_chan": 4, "hid_chan": 4, "skip_chan": 4}
    if group == "head":
        return [conv_tasnet(2, **small)] if "model" in part._target_ else [ExactPITLossWrapper(PairwiseNegSDR("sisdr"))]
    if "Refinement" in part._target_:
        model = LatentRefinementNet(2, n_filters=16, bn_chan=4, upsampling_depth=2, gate=True, noise_slot=True)
    else:
        model = conv_tasnet(2, **small)
    return [model, torch.optim.Adam(parameters), ExactPITLossWrapper(PairwiseNegSDR("sisdr"))]


def others(value):
    """Values unlike this one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [1.0] if math.isinf(value) else [value * 0.5 + 0.125]
    if isinstance(value, str):
        return [f"{value}x"]
    if isinstance(value, list):
        return [[*value, "x"]]
    return [3, "x"]


def leaves(node, at=()):
    for key in node:
        if str(key).startswith("_"):
            continue
        value = node[key]
        if OmegaConf.is_dict(value):
            yield from leaves(value, (*at, key))
        else:
            yield (*at, key), OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def parts(group, option):
    words = [f"{group}=[{option}]" if group in ("stabilizer", "callbacks") else f"{group}={option}"]
    words += [f"{group}.{word}" for word in SMALL.get(option, []) if group == "model"] + NEED.get(option, [])
    if option == "layerwise":
        node = compose_recipe("baseline/toy", words).head
        return [("head", node.model), ("head", node.loss)]
    if option == "multitask" and group == "data":
        words.append("model.n_src=2")
    if (group, option) == ("scheduler", "dptnet"):
        words.append("model=convtasnet")
    if group == "scheduler" and option == "linear":
        words.append("trainer.max_epochs=5")
    if option == "speech_folders":
        node = OmegaConf.load(CONF / "data" / "speech_folders.yaml")
        return [(group, node)]
    return [(group, compose_recipe("baseline/toy", words)[group])]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_another_value_of_any_key_makes_another_object_or_is_refused(group, option):
    for at, node in parts(group, option):
        node = OmegaConf.create(OmegaConf.to_container(node, resolve=True))
        if not [*leaves(node)]:  # a system without values of its own
            continue
        whole = described(made(node, at))
        for path, value in leaves(node):
            if ".".join(map(str, (at, *path))) in UNSEEN:
                continue
            for other in others(value):
                changed = OmegaConf.create(OmegaConf.to_container(node))
                OmegaConf.update(changed, ".".join(map(str, path)), other)
                try:
                    new = described(made(changed, at))
                except StabError:
                    continue
                assert new != whole, f"{at}/{option}: {path} = {other!r} changes nothing"


def test_the_values_of_a_run_are_read():
    words = ["model.n_filters=16", "model.n_blocks=1", "model.bn_chan=4", "model.hid_chan=4", "model.skip_chan=4"]
    words += ["logger=none", "trainer.accelerator=cpu", "run_dir=x"]

    def weights(*more):
        built = build_run(compose_recipe("baseline/toy", [*words, *more]))
        groups = [(len(group["params"]), group["lr"]) for group in built.system.optimizer.param_groups]
        return described(dict(built.network.state_dict())), groups, built.trainer.default_root_dir

    first = weights()
    assert weights() == first
    assert weights("seed=3")[0] != first[0]
    assert weights("lr_factors=[[encoder,0.5]]")[1] != first[1]
    assert weights("run_dir=y")[2] != first[2]
