"""A stored config builds classes of this package, of its hosts and of what the user trusts, and nothing else."""

import os
import pkgutil

import pytest
import yaml
from hosted_recipes import is_lacking

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.recipes import recipe_files
from asteroid_stab.run.resume import resumed_config
from asteroid_stab.trust import check_stored, locate, targets, trust, trust_own, trusted_file, trusted_names, trusting

FOREIGN = [
    "os.system",
    "posix.system",
    "subprocess.Popen",
    "builtins.open",
    "builtins.eval",
    "pandas.read_pickle",
    "torch.load",
    "torch.hub.load",
    "torch.nn.modules.module.torch.load",
    "torch.optim.lr_scheduler.math.exp",
    "torch.jit.load",
    "torch.utils.cpp_extension.load",
    "numpy.load",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "functools.partial",
    "asteroid_stab.atomic.write_text",
    "asteroid_stab.run.describe.RunDescription",
    "asteroid_stab.trust.trust",
    "asteroid_stab.models.save_model",
    "asteroid_stab.models.load_model",
    "asteroid_stab.models.LatentRefinementNet.from_pretrained",
    "asteroid_stab.data.toy.corpus.os.remove",
    "asteroid.models.save_publishable",
    "asteroid.models.ConvTasNet.from_pretrained",
    "pytorch_lightning.Trainer.from_argparse_args",
    "pytorch_lightning.seed_everything",
    "pytorch_lightning.cli.LightningCLI",
    "pytorch_lightning.loggers.MLFlowLogger",
    "no_such_package.Thing",
    "asteroid_stab.data.NoSuchCorpus",
]
PLACES = {
    "data": lambda node: {"data": node},
    "an argument": lambda node: {"data": {"_target_": "asteroid_stab.data.ToyCorpus", "cache_dir": node}},
    "a list in a list": lambda node: {"data": {"_target_": "asteroid_stab.data.ToyCorpus", "n_src": [[1, node]]}},
    "a positional argument": lambda node: {"data": {"_target_": "asteroid_stab.data.ToyCorpus", "_args_": [node]}},
    "a part": lambda node: {"data": {**node, "_partial_": True}},
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def stored(tmp_path, change=lambda config: None):
    """A run folder with the config of baseline/toy after a change of it."""
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(compose_recipe("baseline/toy", [f"run_dir={tmp_path / 'run'}", "logger=none"]))
    change(config)
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "run"


@pytest.mark.parametrize("target", FOREIGN)
def test_what_is_no_part_is_refused(target):
    with pytest.raises(StabError, match=r"config.yaml names .* at data, which is no part of this package .* --trust "):
        check_stored({"_target_": target}, "data", "config.yaml", ())


@pytest.mark.parametrize("place", PLACES)
def test_however_deep_it_stands(place):
    node = PLACES[place]({"_target_": "os.system", "command": "touch x"})
    with pytest.raises(StabError, match=r"names os.system at data"):
        check_stored(node["data"], "data", "config.yaml", ())


@pytest.mark.parametrize("target", [None, 3, "", "os system", "..x", ["os.system"], {"_target_": "os.system"}, "a:b"])
def test_a_target_that_is_no_name_is_refused(target):
    with pytest.raises(StabError, match=r"data._target_ must be the name of a class, got"):
        check_stored({"_target_": target}, "data", "config.yaml", ())


def test_no_function_of_this_package_or_a_host_is_built_that_makes_no_part():
    """Walks every public name of the places that a config may name."""
    import importlib

    allowed = set()
    for room in ("data", "losses", "stabilizers", "models", "pretext", "callbacks", "engine"):
        package = importlib.import_module(f"asteroid_stab.{room}")
        for module in [
            package,
            *(locate(m.name) for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")),
        ]:
            for name in dir(module):
                if name.startswith("_") or isinstance(getattr(module, name), type):
                    continue
                try:
                    check_stored({"_target_": f"{module.__name__}.{name}"}, "data", "c", ())
                except StabError:
                    continue
                allowed.add(name)
    assert allowed == {
        *(
            "conv_tasnet",
            "dprnn_tasnet",
            "dptnet",
            "sudormrf",
            "layered_model",
            "load_pretrained",
            "hosted",
            "tensorboard",
            "wandb",
            "mlflow",
        )
    }


@pytest.mark.parametrize("recipe", [name for name in recipe_files() if not is_lacking(name)])
def test_every_recipe_names_parts_only(recipe):
    words = {"cascaded_pit/toy_fixed": ["loss.run=null"]}
    config = compose_recipe(recipe, words.get(recipe, ["loss.run=null"] if recipe.endswith("_fixed") else []))
    assert len([*targets(config)]) > 7
    check_stored(config, "", "config.yaml", ())


@pytest.mark.parametrize(
    "target", ["torch.nn.ReLU", "asteroid_filterbanks.Encoder", "pytorch_lightning.callbacks.Timer"]
)
def test_classes_of_hosts_are_built(target):
    check_stored({"_target_": target}, "data", "config.yaml", ())


def test_a_foreign_module_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Corpus: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = stored(tmp_path, lambda config: config["data"].update(_target_="evil_module.Corpus"))
    for words in (["evaluate", run], ["switches", run], ["train", f"resume={run}"]):
        assert main([*map(str, words)]) == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["model", "loss", "optim", "scheduler", "trainer", "system", "init", "loader"])
def test_every_part_of_a_resumed_run_is_looked_at(tmp_path, part, capsys):
    run = stored(tmp_path, lambda config: config[part].update(_target_="os.system"))
    assert main(["train", f"resume={run}"]) == 2
    assert f"config.yaml names os.system at {part}" in capsys.readouterr().err


def test_what_the_user_trusts_is_built_and_kept(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_corpora.py").write_text(
        "import os\nfrom asteroid_stab.data import ToyCorpus\nclass Mine(ToyCorpus):\n    'Mine.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = stored(tmp_path, lambda config: config["data"].update(_target_="my_corpora.Mine"))
    with pytest.raises(StabError, match=r"names my_corpora.Mine at data, .* --trust my_corpora \(asked once"):
        RunFolder(run).datamodule()
    assert main(["evaluate", str(run), "--trust", "my_corpora"]) == 2  # it has no model yet
    out = capsys.readouterr()
    assert f"note: my_corpora may be built from run folders from now on, as {trusted_file()} says" in out.out
    assert "no model file" in out.err
    assert type(RunFolder(run).datamodule().corpus).__name__ == "Mine"
    assert trusted_file().read_text() == "my_corpora\n"
    # a package that is trusted lends its name to nothing that it imports
    other = stored(tmp_path, lambda config: config["data"].update(_target_="my_corpora.os.system"))
    with pytest.raises(StabError, match=r"names my_corpora.os.system at data"):
        RunFolder(other).datamodule()


def test_a_config_dir_trusts_the_classes_that_it_names_and_no_others(tmp_path, monkeypatch):
    (tmp_path / "mine_too.py").write_text(
        "from asteroid_stab.data import ToyCorpus\nclass A(ToyCorpus):\n    'A.'\nclass B(ToyCorpus):\n    'B.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "a.yaml").write_text("_target_: mine_too.A\n")
    run = stored(tmp_path, lambda config: config["data"].update(_target_="mine_too.A"))
    assert type(RunFolder(run, str(tmp_path / "conf")).datamodule().corpus).__name__ == "A"
    assert resumed_config(str(run), None, [], str(tmp_path / "conf")).data._target_ == "mine_too.A"
    run = stored(tmp_path, lambda config: config["data"].update(_target_="mine_too.B"))
    with pytest.raises(StabError, match="names mine_too.B at data"):
        RunFolder(run, str(tmp_path / "conf")).datamodule()
    with pytest.raises(StabError, match="--config-dir must be a folder, got '/nowhere'"):
        RunFolder(run, "/nowhere").datamodule()


def test_what_the_user_trains_with_is_trusted_by_its_whole_name():
    config = {"data": {"_target_": "my_own.Corpus"}, "loss": [{"_target_": "torch.load"}, {"_target_": "os.system"}]}
    assert trust_own(config) == ["my_own.Corpus"]
    assert trust_own(config) == []
    assert trusted_names() == {"my_own.Corpus"}


def test_functions_of_packages_that_are_always_there_are_not_kept():
    names = ["pandas.read_pickle", "sympy.sympify", "torchaudio.models.ConvTasNet"]
    found = trust_own([{"_target_": name} for name in names])
    assert found == ["torchaudio.models.ConvTasNet", "torchaudio.models.conv_tasnet.ConvTasNet"]


def test_a_stored_config_hosts_no_foreign_net(tmp_path):
    for net in ({"_target_": "os.system"}, [{"_target_": "os.system"}]):
        run = stored(
            tmp_path, lambda c, net=net: c.update(model={"_target_": "asteroid_stab.models.hosted", "net": net})
        )
        with pytest.raises(StabError, match=r"config.yaml names os.system at model.net"):
            resumed_config(str(run), None, [])


def test_names_are_trusted_within_a_block():
    with trusting(["a"]), trusting(["b.C"]):
        assert trusted_names() == {"a", "b.C"}
    assert trusted_names() == set()
    with pytest.raises(RuntimeError, match="x"), trusting(["a"]):
        raise RuntimeError("x")
    assert trusted_names() == set()


def test_a_trusted_class_that_is_gone_is_named(tmp_path, monkeypatch):
    (tmp_path / "half_a_module.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, why in (("no_package.Net", "'no_package'"), ("half_a_module.Net", "'no_such_package'")):
        message = rf"c names {name}, which cannot be imported here \(ModuleNotFoundError: No module named {why}\): "
        with pytest.raises(StabError, match=message):
            check_stored({"_target_": name}, "data", "c", [name.split(".")[0]])
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(StabError, match=r"c names a_script.Net, which cannot be imported here \(SystemExit: 0\)"):
        check_stored({"_target_": "a_script.Net"}, "data", "c", ["a_script"])


@pytest.mark.parametrize("target", ["asteroid_stab.data.ToyCorpus", "pytorch_lightning.Trainer", "torch.optim.Adam",
                                    "asteroid_stab.models.conv_tasnet", "asteroid_stab.models.hosted"])  # fmt: skip
def test_a_model_is_made_of_modules_only(target):
    check_stored({"_target_": target}, "data", "c", ())
    with pytest.raises(StabError, match=f"c names {target} at net, which is no part"):
        check_stored({"_target_": target}, "net", "c", (), modules_only=True)
    check_stored({"_target_": "torch.nn.ReLU"}, "net", "c", (), modules_only=True)


def test_a_class_is_trusted_by_the_name_of_its_definition_too(tmp_path, monkeypatch):
    """A model's file has that name, and a recipe may have another."""
    (tmp_path / "defines_it.py").write_text("class Net: pass\ndef made():\n    return lambda: 3\nmade = made()\n")
    (tmp_path / "lends_it.py").write_text("from defines_it import Net, made\nfrom os import system\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = [{"_target_": f"lends_it.{name}"} for name in ("Net", "made", "system")]
    assert trust_own(config) == ["lends_it.Net", "defines_it.Net", "lends_it.made", "lends_it.system"]


@pytest.mark.parametrize(
    ("target", "name"), [("os.system", "os.system"), ("torch.hub.load", "torch.hub.load"), ("a.b.C", "a.b"), ("a", "a")]
)
def test_no_host_is_proposed_to_be_trusted_as_a_whole(target, name):
    with pytest.raises(StabError, match=rf"if you trust it, --trust {name} \(asked once"):
        check_stored({"_target_": target}, "data", "c", ())


@pytest.mark.parametrize("name", ["", "a b", "a-b", "/home", "a..b"])
def test_a_name_that_is_none_is_not_trusted(name):
    with pytest.raises(StabError, match="--trust must be the name of a package or a class"):
        trust([name])


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert trusted_names() == set()
    with pytest.raises(StabError, match=r"cannot write .*trusted, which lists what you trust"):
        trust(["mine"])


@pytest.mark.parametrize("key", ["dirpath", "save_dir"])
def test_a_resumed_run_writes_in_its_folder_only(tmp_path, key):
    target = {"dirpath": "pytorch_lightning.callbacks.ModelCheckpoint", "save_dir": "x.Y"}[key]
    place = str(tmp_path / "elsewhere")
    run = stored(tmp_path, lambda c: c["callbacks"].update(extra={"_target_": target, key: place}))
    trust(["x.Y"])
    with pytest.raises(StabError, match=rf"callbacks.extra.{key}={place} is outside the run folder"):
        resumed_config(str(run), None, [])
    run = stored(tmp_path, lambda c: c["trainer"].update(default_root_dir=os.path.join(tmp_path, "run", "..", "x")))
    with pytest.raises(StabError, match="trainer.default_root_dir=.* is outside the run folder"):
        resumed_config(str(run), None, [])
