"""compose_recipe: every key is read or refused, and values of replaced ingredients are left out with a word."""

import re
import time

import pytest
from omegaconf import OmegaConf

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.compose import compose_recipe

HEAD = "# @package _global_\ndefaults: [/baseline/toy, _self_]\n"
BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))])


def own(folder, name, text, *words):
    file = folder / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return compose_recipe(name, words, str(folder))


@pytest.mark.parametrize(
    ("recipe", "words", "left", "note"),
    [
        ("dsd_lo/toy", ["model=dptnet"], "model.n_blocks", "model.n_blocks are left out: with model=dptnet"),
        ("dsd_lo/toy", ["data=dynamic"], "data.n_src", "data.n_src are left out: with data=dynamic"),
        ("dsd_lo/toy", ["stabilizer=[]"], "stabilizer.dsd", "stabilizer.dsd are left out: with stabilizer=[]"),
        ("lir/toy", ["scheduler=none"], "scheduler.step_size", "scheduler.step_size are left out"),
        ("lir/toy_progressive", ["callbacks=[]"], "callbacks.progressive", "callbacks.progressive are left out"),
        ("attention_pit/toy_attn_sink", ["loss=pit"], "loss.first_epoch", "loss.first_epoch are left out"),
    ],
)
def test_values_of_a_replaced_ingredient_are_told_and_left_out(recipe, words, left, note, capsys):
    config = compose_recipe(recipe, words)
    assert OmegaConf.select(config, left) is None
    told = capsys.readouterr()
    assert f"note: the recipe's values of {note}" in told.err
    assert len([line for line in told.err.splitlines() if "left out" in line]) == 1
    assert told.out == ""
    assert OmegaConf.select(compose_recipe(recipe), left) is not None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["model=dptnet"], "note: model=dptnet takes the recipe's model.n_repeats=3 too"),
        (["data=dynamic"], "note: data=dynamic takes the recipe's data.n_train=1000 too"),
        (["model=dptnet", "model.n_repeats=2"], ""),
        (["model=convtasnet_small"], ""),  # the recipe's own
        (["model.n_repeats=2"], ""),
    ],
)
def test_values_that_a_new_ingredient_takes_too_are_told(words, note, capsys):
    config = compose_recipe("dsd_lo/toy", words)
    told = [line for line in capsys.readouterr().err.splitlines() if "takes the recipe's" in line]
    assert [line.partition(": KEY")[0] for line in told] == ([note] if note else [])
    assert "alone" not in config


@pytest.mark.parametrize(
    ("recipe", "words", "message"),
    [
        ("dsd_lo/toy", ["model=dptnet", "model.n_blocks=3"], "model.n_blocks: .*dptnet takes no 'n_blocks'"),
        ("dsd_lo/toy", ["data=dynamic", "data.n_src=3"], "data.n_src: .*DynamicCorpus takes no 'n_src'"),
        ("lir/toy", ["scheduler=none", "scheduler.step_size=3"], "nothing reads scheduler.step_size"),
        ("baseline/toy", ["+foo=1"], "nothing reads 'foo'"),
        ("baseline/toy", ["+optimizer.lr=1"], r"nothing reads 'optimizer.lr' \(did you mean 'optim.lr'\?\)"),
        ("baseline/toy", ["logger=false"], "group 'logger' takes the name of an option, got False"),
        ("baseline/toy", ["stabilizer=[0]"], "group 'stabilizer' takes the name of an option, got 0"),
        ("baseline/toy", ["model=null"], "group 'model' takes the name of an option, got none, and a run needs one"),
        ("baseline/toy", ["~data"], "group 'data' takes the name of an option, got none, and a run needs one"),
        ("baseline/toy", ["model=[dptnet,dprnn]"], "group 'model' takes one option, got dptnet, dprnn"),
        ("baseline/toy", ["init=null"], "init is missing, and a run needs it"),
        ("baseline/toy", ["model._target_=os"], "model._target_: 'os' is a module, which cannot be called"),
        ("baseline/toy", ["model._target_=null"], "model._target_: must be the name of a class, got None"),
        ("baseline/toy", ["+model._args_=3"], "model._args_: must be list, got 3"),
        ("baseline/toy", ["callbacks.tracker=3"], "callbacks.tracker must be a mapping with a _target_, got 3"),
    ],
)
def test_typed_values_that_nothing_reads_are_refused(recipe, words, message):
    with pytest.raises(StabError, match=message):
        compose_recipe(recipe, words)


@pytest.mark.parametrize("group", ["logger", "scheduler", "callbacks", "stabilizer", "head", "pretext"])
def test_a_group_that_a_run_can_do_without_may_be_null(group):
    node = compose_recipe("baseline/toy", [f"{group}=null"])[group]
    assert node == ({"model": None, "loss": None} if group == "head" else {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "paper/mine",
            "defaults: [/baseline/toy, _self_]\noptim: {lr: 0.5}\n",
            "stand under 'paper', .*@package _glob",
        ),
        ("a/b/mine", "defaults: [/baseline/toy, _self_]\nseed: 3\n", "stand under 'a.b', where nothing reads them"),
        ("mine", HEAD + "optimizer: {lr: 0.5}\n", r"nothing reads 'optimizer.lr' \(did you mean 'optim.lr'\?\)"),
        ("mine", HEAD + "stabilizer: {dsd: {epsilon_db: 1}}\n", r"stabilizer.dsd is given a value but is not chosen"),
        ("mine", HEAD + "my: {a: 1.0, b: 2}\nloader: {segment_s: '${my.a}'}\n", "nothing reads 'my.b'"),
        ("mine", HEAD + "head: {foo: 1}\n", "nothing reads head.foo"),
        ("mine", HEAD + "loss: {loss_func: {sdr_typ: x}}\n", "takes no 'sdr_typ' .*'sdr_type'"),
        ("mine", HEAD + "1: 2\n", "nothing reads '1'"),
        ("mine", HEAD + "'a.b': 2\n", "nothing reads 'a.b'"),
        ("mine", HEAD + "null: 2\n", "ConfigCompositionException"),
        ("mine", HEAD + "optim: 3\n", "optim must be a mapping with a _target_, got 3"),
        ("mine", HEAD + "optim:\n\tlr: 1", r"mine.yaml' is no readable recipe: .*cannot start any token"),
        ("mine", HEAD + "seed: 1\nseed: 2", "found duplicate key seed"),
        ("mine", "# @package _global_\ndefaults: [/mine, _self_]\n", "its defaults lead back to itself"),
        ("mine", "# @package _global_\n'0x10'\n", "one of its files holds a bare value and no keys"),
        ("mine", HEAD + "run_dir: ${run_dir}", "Recursive interpolation detected"),
        ("mine", HEAD + "run_dir: ${foo:bar}", "Unsupported interpolation type foo"),
        ("mine", HEAD + "run_dir: '${'", "recipe 'mine'"),
        ("mine", "- a\n", "must be a DictConfig, got ListConfig"),
        ("mine", "0.5\n", "Invalid loaded object type: float"),
        ("mine", "defaults: 3\n", "defaults must be a list"),
        ("mine", "defaults: [3]\n", "Unsupported type in defaults"),
        ("mine", b"# \xff\xfe\n", "is no readable recipe: 'utf-8' codec"),
        ("mine", HEAD + "a: " + "[" * 2000 + "]" * 2000, "is no readable recipe: it is nested too deep"),
        ("mine", HEAD + BOMB, "its aliases make more than 100000 values of it"),
        ("mine", HEAD + "a: &a [*a]\n", "its aliases make more than"),
        ("mine", HEAD + "a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_a_recipe_with_a_fault_is_refused_by_name(tmp_path, name, text, message):
    began = time.monotonic()
    with pytest.raises(StabError, match=f"(?s){message}"):
        own(tmp_path, name, text)
    assert time.monotonic() - began < 30
    assert main(["recipes", "--config-dir", str(tmp_path)]) == 0


def test_a_value_that_an_interpolation_reads_is_read(tmp_path):
    config = own(tmp_path, "mine", HEAD + "my_s: 1.25\nloader: {segment_s: '${my_s}'}\n")
    assert config.loader.segment_s == 1.25


def test_a_recipe_in_no_folder_needs_no_package(tmp_path):
    assert own(tmp_path, "mine", "defaults: [/baseline/toy, _self_]\noptim: {lr: 0.5}\n").optim.lr == 0.5


def test_the_message_is_one_line(tmp_path):
    with pytest.raises(StabError) as error:
        own(tmp_path, "mine", "defaults: [/no/such/thing]\n")
    assert re.fullmatch(r"[^\n]*", str(error.value))


def test_a_recipe_of_the_package_takes_options_of_ones_own(tmp_path):
    """Also from a folder whose name Hydra would read otherwise."""
    folder = tmp_path / "my conf, v=2"
    (folder / "optim").mkdir(parents=True)
    (folder / "optim" / "mine.yaml").write_text("_target_: torch.optim.SGD\n_partial_: true\nlr: 0.125\n")
    config = compose_recipe("baseline/toy", ["optim=mine", "optim.lr=0.25"], folder)
    assert config.optim == {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.25}


def test_values_of_a_class_that_an_override_replaces_are_left_out(capsys):
    config = compose_recipe("baseline/toy", ["model._target_=torch.nn.PReLU", "+model.init=0.5"])
    assert config.model == {"_target_": "torch.nn.PReLU", "init": 0.5}
    assert "left out: with model._target_=torch.nn.PReLU nothing reads them" in capsys.readouterr().err
    with pytest.raises(StabError, match="model.n_filters: torch.nn.PReLU takes no 'n_filters'"):
        compose_recipe("baseline/toy", ["model._target_=torch.nn.PReLU", "model.n_filters=8"])
