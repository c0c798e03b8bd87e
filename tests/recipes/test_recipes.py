"""Every recipe composes, fits the constructors that it names, and trains two steps on data of its kind."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from hosted_recipes import OF_PACKAGES, is_lacking
from metric_page import undocumented
from omegaconf import OmegaConf
from trees import librispeech, wham, whamr, wsj0_mix

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import build, check_config
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.overrides import read
from asteroid_stab.run.recipes import recipe_files, summary
from asteroid_stab.run.study_rows import filled, read_rows

RECIPES = recipe_files()
SMALL_DPRNN = ["model.n_filters=16", "model.n_repeats=2", "model.bn_chan=8", "model.hid_size=8", "model.chunk_size=20"]
SMALL_DPTNET = ["model.n_filters=16", "model.n_repeats=2", "model.ff_hid=8", "model.chunk_size=20"]
SMALL_SUDORMRF = ["model.n_filters=16", "model.bn_chan=8", "model.num_blocks=2", "model.upsampling_depth=2"]
SMALL_REFINER = ["model.n_filters=16", "model.bn_chan=8", "model.upsampling_depth=2"]
SMALL = ["model.n_filters=32", "model.n_blocks=2", "model.n_repeats=1", "model.bn_chan=8", "model.hid_chan=16"]

SMALLER = {
    "LatentRefinementNet": SMALL_REFINER,
    "MultiMicConvTasNet": [*SMALL, "model.n_spatial=8"],
    "conv_tasnet": SMALL,
    "dprnn_tasnet": SMALL_DPRNN,
    "dptnet": SMALL_DPTNET,
    "sudormrf": SMALL_SUDORMRF,
}


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """A LibriSpeech of six speakers of noise, and lists of mixtures of it under the names that recipes ask for."""
    root = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    paths = []
    for speaker in range(6):
        file = root / "train-clean-100" / f"{speaker}" / "1" / f"{speaker}-1-0000.flac"
        file.parent.mkdir(parents=True)
        soundfile.write(file, 0.1 * rng.standard_normal(16_000 * 4), 16_000)
        paths.append(str(file.relative_to(root)))
    for n_src in (2, 5):
        groups = list(itertools.combinations(paths, n_src))
        table = pd.DataFrame({"mixture_ID": ["_".join(Path(path).stem for path in group) for group in groups]})
        for k in range(n_src):
            table[f"source_{k + 1}_path"] = [group[k] for group in groups]
            table[f"source_{k + 1}_gain"] = 1.0 - 0.1 * k
        for name in ("train-clean-100", "train-clean-100-valid", "dev-clean", "test-clean", "test-other"):
            table.to_csv(root / f"libri{n_src}mix_{name}.csv", index=False)
    return root


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """WSJ0-2mix, WHAM! and WHAMR! on disk, and folders of LibriSpeech."""
    root = tmp_path_factory.mktemp("trees")
    wsj0_mix(root / "wsj0-mix")
    wham(root / "wham")
    whamr(root / "whamr", n_mics=2)
    librispeech(root / "LibriSpeech", ("train-clean-360", "train-clean-100", "dev-clean", "test-clean", "test-other"))
    return root


def corpus(config, speech, esc=None, trees=None):
    """Overrides that put a small corpus in the place of a recipe's."""
    words = ["loader.num_workers=0", "loader.segment_s=0.5"]
    return [*words, *small_data(config.data, "data", speech, esc, trees)]


def small_data(node, at, speech, esc, trees):
    kind = node._target_.rpartition(".")[2]
    if kind == "MultiTaskCorpus":
        parts = [small_data(node[part], f"{at}.{part}", speech, esc, trees) for part in ("base", "enhancement")]
        return parts[0] + parts[1]
    if kind == "VariableSourcesCorpus":
        parts = node.parts.items()
        return [word for name, part in parts for word in small_data(part, f"{at}.parts.{name}", speech, esc, trees)]
    if kind == "RoomsCorpus":
        few = [
            "geometry=whamr",
            "low_rt60_s=0.1",
            "high_rt60_s=0.1",
            *(f"n_{of}_rooms=1" for of in ("train", "valid", "test")),
        ]
        return [f"{at}.{word}" for word in few] + small_data(node.base, f"{at}.base", speech, esc, trees)
    if kind == "Wsj0MixCorpus":
        words = [f"root={trees / 'wsj0-mix'}"]
    elif kind == "WhamCorpus":
        words = [f"root={trees / 'wham'}"]
    elif kind == "WhamrCorpus":
        words = [f"root={trees / 'whamr'}"]
    elif kind == "LibriSpeechCorpus":
        words = [f"root={speech}", f"list_root={speech}"]
    else:
        words = ["n_train=8", "n_valid=4", "n_test=4"]
    if kind in ("EscCorpus", "SpeechEscCorpus"):
        words += [f"root={esc}", f"cache_dir={speech / 'cache'}"]
        words += [f"speech_root={speech}", "valid_speakers=2"] * (kind == "SpeechEscCorpus")
    if kind == "NoisyCorpus":
        words += [f"noise_root={esc}", f"cache_dir={speech / 'cache'}"]
        folders = node.base._target_.endswith("SpeechFolders")
        words += [f"base.root={trees / 'LibriSpeech'}", "base.valid_speakers=2"] if folders else ["base.n_utterances=2"]
    if kind == "ToyCorpus":
        words += ["n_utterances=2"]
    return [f"{at}.{word}" for word in words]


def needed_before(recipe):
    """The recipe of the run that this one goes on from; empty where it needs none."""
    if recipe.endswith("_fixed"):
        return recipe.replace("cascaded_pit/toy_fixed", "baseline/toy").replace("_fixed", "_pit")
    if recipe.endswith("_early_exit"):
        return recipe.replace("wham_early_exit", "wham_sep").removesuffix("_early_exit")
    if "finetune" not in recipe:
        return ""
    own = {"ssl/toy_finetune": "ssl/toy_se", "ssl/mini_librispeech_finetune": "ssl/mini_librispeech_se"}
    return own.get(recipe) or ("ssl/pretrain_se_libri1mix_" + recipe.rpartition("_")[2]).removesuffix("_convtasnet")


@pytest.mark.parametrize("recipe", OF_PACKAGES)
def test_a_package_that_is_not_there_is_named(recipe, capsys):
    package = OF_PACKAGES[recipe]
    if not is_lacking(recipe):
        pytest.skip(f"this environment has {package}")
    assert main(["train", recipe, "data=toy", "--print-config"]) == 2
    error = capsys.readouterr().err
    assert f"model.net._target_: '{package}." in error
    assert f"(ModuleNotFoundError: No module named '{package}'): install its package" in error


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_says_what_it_is(recipe):
    assert len(summary(RECIPES[recipe])) > 20


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_trains_two_steps(recipe, speech, esc, trees, tmp_path):
    if recipe in OF_PACKAGES:  # packages that this environment does not have
        pytest.skip("tests/integrations/test_models.py trains it, where make test-toolkits has its package")
    config = compose_recipe(recipe, ["loss.run=none"] if recipe.endswith("_fixed") else [])
    short = [
        "loader.batch_size=2",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
        "trainer.accumulate_grad_batches=1",
    ]
    short += ["trainer.accelerator=cpu", "logger=none"]
    small = SMALLER[config.model._target_.rpartition(".")[2]] + ["model.n_repeats=2"] * recipe.startswith("dsd_lo/")
    words = [*corpus(config, speech, esc, trees), *small, *short]
    before = needed_before(recipe)
    if before:
        own = corpus(compose_recipe(before), speech, esc, trees)
        assert main(["train", before, f"run_dir={tmp_path / 'before'}", *own, *small, *short]) == 0
        begins = not recipe.endswith("_fixed")
        words += [f"init.path={tmp_path / 'before'}"] if begins else [f"loss.run={tmp_path / 'before'}", "loss.epoch=0"]
    stages = config.model.n_blocks if "progressive" in config.callbacks else 1
    if stages > 1:
        words += [f"trainer.max_epochs={stages}", "callbacks.progressive.epochs_per_stage=1"]
    assert main(["train", recipe, f"run_dir={tmp_path / 'run'}", *words]) == 0
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["step"].tolist() == [2 * (stage + 1) for stage in range(stages)]
    assert np.isfinite(metrics["train/loss"]).all()
    assert not undocumented(metrics.columns), "docs/metrics.md has no line for them"


@pytest.mark.parametrize(
    "group",
    [
        "trainer=ddp",
        "scheduler=none",
        "logger=wandb",
        "logger=mlflow",
        "optim=adamw",
        "data=librimix",
        "data=dynamic",
        "loss=attention",
        "loss=sinkpit",
    ],
)
def test_ingredients_that_no_recipe_uses_fit_as_well(group):
    config = compose_recipe("baseline/toy", [group, *(["data.root=/x"] if "librimix" in group else [])])
    check_config(config)


def test_one_layer_is_told_to_change_nothing(tmp_path, capsys):
    words = [*corpus(compose_recipe("dsd_lo/toy"), None), "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main(["train", "dsd_lo/toy", f"run_dir={tmp_path / 'run'}", *words, *SMALL, "logger=none"]) == 0
    assert "the model has one layer, with which head=layerwise changes nothing" in capsys.readouterr().out


def test_the_tracker_refuses_dynamic_mixing_by_name(tmp_path, capsys):
    words = ["data=dynamic", "data.base.n_utterances=2", "data.n_train=8", "loader.segment_s=0.5", *SMALL]
    words += [f"run_dir={tmp_path / 'run'}", "logger=none", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main(["train", "baseline/toy", *words]) == 2
    assert "AssignmentTracker needs stable ids" in capsys.readouterr().err
    dsd = [*words, "~callbacks.tracker", "stabilizer=[dsd]"]
    assert main(["train", "baseline/toy", *dsd]) == 2
    assert "SampleDropout needs stable ids" in capsys.readouterr().err
    assert (
        main(["train", "baseline/toy", *words[:-3], f"run_dir={tmp_path / 'b'}", *words[-3:], "~callbacks.tracker"])
        == 0
    )


def test_a_missing_corpus_says_which_key_to_set(tmp_path, capsys):
    assert main(["train", "baseline/mini_librispeech", f"run_dir={tmp_path / 'run'}", "logger=none"]) == 2
    error = capsys.readouterr().err
    assert error.endswith("error: data.root is not set; set data.root=FOLDER to the LibriSpeech folder\n")


def test_a_missing_corpus_inside_another_says_which_key_to_set(tmp_path, capsys):
    words = [f"run_dir={tmp_path / 'run'}", "logger=none"]
    assert main(["train", "ssl/multitask_libri2mix", *words]) == 2
    assert "data.enhancement.base.root is not set; set data.enhancement.base.root=FOLDER" in capsys.readouterr().err
    assert main(["train", "lir/mini_librispeech", *words]) == 2
    assert "data.base.root is not set; set data.base.root=FOLDER to the folder of speech" in capsys.readouterr().err


def test_missing_files_stop_the_run_unless_skipped(speech, tmp_path, capsys):
    table = pd.read_csv(speech / "libri2mix_train-clean-100.csv")
    table.loc[0, "source_1_path"] = "train-clean-100/9/1/9-1-0000.flac"
    table.to_csv(tmp_path / "list.csv", index=False)
    words = [*corpus(compose_recipe("baseline/mini_librispeech"), speech), *SMALL, "loader.batch_size=2", "logger=none"]
    words += [f"data.train_list={tmp_path / 'list.csv'}", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main(["train", "baseline/mini_librispeech", f"run_dir={tmp_path / 'a'}", *words]) == 2
    assert "9-1-0000.flac" in capsys.readouterr().err
    words += ["data.skip_missing=true", "trainer.limit_train_batches=1"]
    assert main(["train", "baseline/mini_librispeech", f"run_dir={tmp_path / 'b'}", *words]) == 0


def test_compose_refuses_an_unknown_recipe():
    with pytest.raises(StabError, match=r"no recipe 'baseline/tou' \(did you mean 'baseline/toy'\?\)"):
        compose_recipe("baseline/tou")


def test_a_value_that_must_be_given_is_asked_for():
    with pytest.raises(StabError, match="loss.run must be given"):
        compose_recipe("cascaded_pit/toy_fixed")
    with pytest.raises(StabError, match=r"loss.first_epoch.sinkpit must be given"):
        compose_recipe("baseline/toy", ["loss=attn_sink"])


def test_a_recipes_stabilizer_can_be_left_out():
    config = compose_recipe("dsd_lo/toy", ["stabilizer=[]", "head.loss.weights=last"])
    assert not config.stabilizer
    assert compose_recipe("dsd_lo/toy").stabilizer.dsd.epsilon_db == 1.0
    with pytest.raises(StabError, match=r"stabilizer.dsd is given a value but is not chosen: add stabilizer=\[dsd\]"):
        compose_recipe("dsd_lo/toy", ["stabilizer=[]", "stabilizer.dsd.epsilon_db=2"])


def test_a_recipes_callback_can_be_left_out(tmp_path):
    assert compose_recipe("ssl/pretrain_cc_libri1mix").callbacks.early_stopping.monitor == "val/score"
    assert not compose_recipe("ssl/pretrain_cc_libri1mix", ["callbacks=[]"]).callbacks
    message = r"callbacks.early_stopping is given a value but is not chosen: add callbacks=\[early_stopping\]"
    with pytest.raises(StabError, match=message):
        compose_recipe("ssl/pretrain_cc_libri1mix", ["callbacks=[]", "callbacks.early_stopping.monitor=val/loss"])
    lines = ["# @package _global_", "# Mine.", "defaults: [/baseline/toy, _self_]"]
    (tmp_path / "mine.yaml").write_text("\n".join([*lines, "callbacks: {early_stop: {patience: 3}}"]))
    with pytest.raises(StabError, match=r"callbacks.early_stop has no _target_, and is no callback .*'early_stopping'"):
        compose_recipe("mine", config_dir=str(tmp_path))


def test_a_misspelt_stabilizer_of_a_recipe_is_told(tmp_path):
    lines = ["# @package _global_", "# Mine.", "defaults: [/baseline/toy, _self_]"]
    lines.append("stabilizer: {dsdd: {epsilon_db: 1.0}}")
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    with pytest.raises(StabError, match=r"stabilizer.dsdd has no _target_, and is no stabilizer \(did you mean 'dsd'"):
        compose_recipe("mine", config_dir=str(tmp_path))


ROWS = [
    pytest.param(row, id=f"{file.parent.name}-{row.name}")
    for file in sorted((Path(__file__).parents[2] / "egs").glob("*/*.rows"))
    for row in read_rows([file])
    if row.recipe not in OF_PACKAGES  # composed in tests/integrations/test_models.py
]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_a_study_has_the_values_that_it_says(row, monkeypatch):
    monkeypatch.setenv("NOISE", "esc")  # a row may name a folder by a variable
    words = [filled(word, "runs", 1) for word in row.words]
    config = compose_recipe(row.recipe, words)
    for word in words:
        key, value = word.split("=", 1)
        chosen = OmegaConf.select(config, key)
        if "." in key:  # a value, not the choice of an ingredient
            if value.startswith("{"):  # Hydra's mapping, which has no blank after a colon
                meant = read(word).value()
            else:
                value = value.replace("${oc.env:NOISE}", "esc")
                meant = float(value) if value in ("inf", "-inf") else yaml.safe_load(value)
            assert OmegaConf.to_container(OmegaConf.create({"v": chosen}))["v"] == meant, word


def test_a_misspelt_key_of_a_chosen_stabilizer_is_told_the_nearest():
    with pytest.raises(StabError, match="no key 'stabilizer.reweight.alfa' .*alpha"):
        compose_recipe("reweighting/toy", ["stabilizer.reweight.alfa=1"])


@pytest.mark.parametrize(
    ("recipe", "n_epochs"),
    [("attention_pit/librimix", 5), ("attention_pit/librimix_attn_sink", 5), ("cascaded_pit/libri2mix_pit", 3)],
)
def test_the_rate_is_halved_after_as_many_epochs_without_a_better_validation_as_the_paper_has(recipe, n_epochs):
    """torch's patience counts one less: the rate falls in the first epoch beyond it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build(compose_recipe(recipe).scheduler, optimizer)
    rates = []
    for score in [1.0] + [0.0] * (n_epochs + 1):
        schedule.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0] * n_epochs + [0.5] * 2


def test_cascaded_pit_has_the_papers_batch_and_segment():
    for name in ("pit", "fixed"):
        words = ["loss.run=none"] if name == "fixed" else []
        config = compose_recipe(f"cascaded_pit/libri2mix_{name}", words)
        assert (config.loader.batch_size, config.loader.segment_s, config.trainer.max_epochs) == (4, 4.0, 100)
        assert config.optim.lr == 1e-3
