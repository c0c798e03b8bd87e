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
        ("chooses", {"mode": "min", "options": {"a": "???"}}, r"^config: part.options.a must be given$"),
        ("takez", {}, r"part._target_: \S+ has no 'takez' \(did you mean 'takes'\?\)"),
        ("nothing.Net", {}, r"part._target_: \S+test_check has no 'nothing'; it has target, takes, chooses, \.\.\."),
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


def test_a_package_that_is_not_there_is_named():
    message = (
        r"part._target_: 'no_such_package.Net' cannot be imported \(ModuleNotFoundError: .*no_such_package'\): "
        "install its package, or set PYTHONPATH to its folder"
    )
    with pytest.raises(StabError, match=message):
        check_config(OmegaConf.create({"part": {"_target_": "no_such_package.Net"}}))


def test_a_module_of_the_users_own_that_breaks_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_net.py").write_text("import torch\n\nclass Net(torch.nn.Modul): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = r"model._target_: 'broken_net.Net' cannot be imported \(AttributeError: .* no attribute 'Modul'"
    with pytest.raises(StabError, match=message):
        check_config(OmegaConf.create({"model": {"_target_": "broken_net.Net"}}))


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


class Closed:
    """Takes a rate."""

    def __init__(self, rate, **kwargs):
        self.rate = rate


class Documented:
    """Takes more.

    Args:
        **more: arguments of something else.
    """

    def __init__(self, **more):
        self.more = more


class Named(Closed):
    """Takes a depth as well, and the size in its further arguments."""

    def __init__(self, depth=1, **kwargs):
        super().__init__(**kwargs)


def test_keys_that_further_arguments_would_swallow_are_refused():
    message = r"part.raet: .*Closed takes no 'raet' \(did you mean 'rate'\?\): its signature or its documentation must"
    with pytest.raises(StabError, match=message):
        check_config(target("Closed", rate=1, raet=2), "part")
    with pytest.raises(StabError, match="part.foo: .*Named takes no 'foo'"):
        check_config(target("Named", rate=1, foo=2), "part")
    check_config(target("Named", rate=1, depth=2, size=3), "part")  # of the base, its own, documented
    check_config(target("Documented", anything=1), "part")
    logger = OmegaConf.create({"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": "a"})
    check_config(OmegaConf.merge(logger, {"flush_secs": 3}), "logger")  # its documentation names SummaryWriter's
    net = OmegaConf.create({"_target_": "asteroid.models.ConvTasNet", "n_src": 2, "stft_pad": 1})
    check_config(net, "model")  # **fb_kwargs are documented
