"""check_config: every fault of a config is named before anything is built."""

from typing import Literal

import pytest
from omegaconf import OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.run.check import check_config


def target(function, **kwargs):
    return OmegaConf.create({"_target_": f"{__name__}.{function}", **kwargs})


def takes(n: int, rate: float = 1.0, name: str | None = None, sizes: list[int] | None = None, inner: object = None):
    """A constructor to bind to."""


def chooses(mode: Literal["min", "max"], flag: bool = False, options: dict[str, int] | None = None):
    """A constructor with a closed choice."""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, _this_module()))


def _this_module():
    import types

    module = types.ModuleType(__name__)
    module.takes, module.chooses = takes, chooses
    return module


@pytest.mark.parametrize(
    "node",
    [
        {"n": 1},
        {"n": 1, "rate": 2, "name": None, "sizes": [1, 2]},
        {"n": 1, "_partial_": True, "_convert_": "all"},
        {"rate": 1.0, "_partial_": True},
    ],
)
def test_what_fits_passes(node):
    check_config(OmegaConf.create({"part": target("takes", **node)}))


@pytest.mark.parametrize(
    ("name", "node", "message"),
    [
        ("takes", {"n": 1, "raet": 2.0}, r"part.raet: .* takes no 'raet' \(did you mean 'rate'\?\)"),
        ("takes", {}, r"part.n: .*takes needs it"),
        ("takes", {"n": 1.5}, r"part.n: must be int, got 1.5"),
        ("takes", {"n": True}, r"part.n: must be int, got True"),
        ("takes", {"n": 1, "rate": "fast"}, r"part.rate: must be float, got 'fast'"),
        ("takes", {"n": 1, "sizes": [1, "two"]}, r"part.sizes: must be list\[int\] \| None, got \[1, 'two'\]"),
        ("takes", {"n": "???"}, r"part.n must be given"),
        ("chooses", {"mode": "mid"}, r"part.mode: must be Literal\['min', 'max'\], got 'mid'"),
        ("chooses", {"mode": "min", "flag": 1}, r"part.flag: must be bool, got 1"),
        ("chooses", {"mode": "min", "options": [1]}, r"part.options: must be dict\[str, int\] \| None, got \[1\]"),
        ("nothing", {}, r"part._target_: '.*nothing' cannot be imported"),
    ],
)
def test_what_does_not_fit_is_named(name, node, message):
    with pytest.raises(StabError, match=message):
        check_config(OmegaConf.create({"part": target(name, **node)}))


def test_all_faults_are_named_at_once():
    config = {"a": target("takes"), "b": [target("chooses", mode="max", flagg=True)], "c": {"d": target("nothing")}}
    with pytest.raises(StabError) as error:
        check_config(OmegaConf.create(config))
    for part in ("a.n", "b[0].flagg", "c.d._target_"):
        assert part in str(error.value)


def test_an_interpolation_that_leads_nowhere_is_named():
    with pytest.raises(StabError, match="Interpolation key 'data.rate' not found"):
        check_config(OmegaConf.create({"part": target("takes", n="${data.rate}")}))


def test_hosts_with_wrapped_constructors_are_checked():
    node = OmegaConf.create({"trainer": {"_target_": "pytorch_lightning.Trainer", "max_epoch": 3}})
    with pytest.raises(StabError, match=r"takes no 'max_epoch' \(did you mean 'max_epochs'\?\)"):
        check_config(node)
    node = OmegaConf.create({"trainer": {"_target_": "pytorch_lightning.Trainer", "max_epochs": "many"}})
    with pytest.raises(StabError, match="trainer.max_epochs: must be .*got 'many'"):
        check_config(node)
