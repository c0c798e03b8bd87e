"""A config has every part that a run needs, each of the type that it must be."""

import pytest
import yaml
from omegaconf import OmegaConf

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.parts import GROUPS, KNOWN, PARTS, complete


@pytest.fixture(scope="module")
def config():
    return OmegaConf.to_container(compose_recipe("baseline/toy", ["logger=none", "run_dir=x"]))


def test_a_recipes_config_is_complete(config):
    assert complete(config) == config
    assert {*config} == {*KNOWN}


@pytest.mark.parametrize("name", [*(name for name, part in PARTS.items() if not part.optional), "seed", "run_dir"])
@pytest.mark.parametrize("value", ["missing", None, {}, 3, "x", [1], {"lr": 1}])
def test_a_part_that_a_run_needs(config, name, value):
    if name == "seed" and value != "missing":  # its range is checked where it is used
        return
    if (name, value) == ("run_dir", "x"):
        return
    changed = {key: node for key, node in config.items() if key != name}
    changed = changed if value == "missing" else {**changed, name: value}
    with pytest.raises(StabError, match=rf"{name} (is missing, and a run needs it|must be|has no _target_)"):
        complete(changed)


@pytest.mark.parametrize("name", [*GROUPS, *(name for name, part in PARTS.items() if part.optional)])
def test_a_part_that_may_be_left_out(config, name):
    less = {key: node for key, node in config.items() if key != name}
    empty = {"model": None, "loss": None} if name == "head" else {}
    for given in (less, {**less, name: None}, {**less, name: {}}):
        assert complete(given)[name] == empty
    for wrong in (3, "x", [1]):
        with pytest.raises(StabError, match=rf"{name} must be a mapping"):
            complete({**less, name: wrong})


@pytest.mark.parametrize("name", GROUPS)
def test_a_part_of_a_group(config, name):
    for wrong in (3, "x", {"lr": 1}):
        with pytest.raises(StabError, match=rf"{name}.loss must be a mapping with a _target_"):
            complete({**config, name: {"loss": wrong}})


def test_all_faults_are_named_at_once(config):
    with pytest.raises(StabError) as error:
        complete({**config, "model": 3, "lr_factors": 1, "recipe": 2})
    assert all(name in str(error.value) for name in ("model must", "lr_factors must", "recipe must"))


@pytest.mark.parametrize(
    ("part", "target", "message"),
    [
        ("data", "torch.nn.ReLU", "data must be of Corpus, and torch.nn.ReLU is none"),
        ("loader", "asteroid_stab.data.ToyCorpus", "loader must be of MixtureDataModule"),
        ("model", "asteroid_stab.data.ToyCorpus", "model must be of Module"),
        ("loss", "torch.nn.ReLU", "loss must be of AssignmentLossWrapper"),
        ("optim", "torch.nn.ReLU", "optim must be of Optimizer"),
        ("scheduler", "torch.nn.ReLU", "scheduler must be of LRScheduler or"),
        ("logger", "torch.nn.ReLU", "logger must be of Logger"),
        ("trainer", "torch.nn.ReLU", "trainer must be of Trainer"),
        ("system", "torch.nn.ReLU", "system must be of HostSystem"),
    ],
)
def test_a_part_of_another_kind_is_refused_before_it_is_built(config, part, target, message):
    from asteroid_stab.run.build import build_run

    small = ["model.n_filters=16", "model.n_blocks=1", "model.bn_chan=4", "model.hid_chan=4", "model.skip_chan=4"]
    whole = compose_recipe("baseline/toy", [*small, "trainer.accelerator=cpu"])
    whole[part] = OmegaConf.create(
        {"_target_": target, "_partial_": part in ("loader", "optim", "scheduler", "system")}
    )
    with pytest.raises(StabError, match=message):
        build_run(whole)


@pytest.mark.parametrize("change", [{"model": 3}, {"data": {"n_src": 2}}, {"trainer": [1]}, {"callbacks": "x"}])
def test_a_stored_config_without_a_part_is_no_traceback(config, tmp_path, change, capsys):
    stored = {**config, **change}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(StabError, match=f"config.yaml' is no config of a run: config: {next(iter(change))}"):
        _ = RunFolder(tmp_path).config
    for words in (["evaluate", tmp_path], ["switches", tmp_path], ["train", f"resume={tmp_path}"]):
        assert main([*map(str, words)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_to_evaluate_the_data_are_enough_and_to_resume_they_are_not(config, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({key: config[key] for key in ("data", "loader", "recipe")}))
    assert RunFolder(tmp_path).datamodule().corpus.n_src == 2
    assert main(["train", f"resume={tmp_path}"]) == 2
    assert "model is missing, and a run needs it" in capsys.readouterr().err
