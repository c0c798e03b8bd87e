"""The scripts of egs/: what they ask for, and that their stages run, and run again, on small trees of their corpora."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from trees import libri1mix, libri2mix_lists, librispeech, noises, wham, whamr, wsj0_mix

EGS = Path(__file__).resolve().parents[2] / "egs"
SCRIPTS = sorted(EGS.glob("*/run.sh"))
SMALL = [
    *("model.n_filters=32", "model.n_blocks=2", "model.n_repeats=1", "model.bn_chan=8", "model.hid_chan=16"),
    *("loader.batch_size=2", "loader.segment_s=0.5", "loader.num_workers=0", "trainer.accelerator=cpu", "logger=none"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"),
]
FEW = ["data.n_train=8", "data.n_valid=4", "data.n_test=2"]


def run(script, *words, cwd, fails=False):
    """Runs a script with the program of this environment; gives what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", EGS / script / "run.sh", *map(str, words)],
        cwd=cwd, env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (2 if fails else 0), done.stderr
    return done.stderr if fails else done.stdout


def epochs(run_dir):
    return pd.read_csv(run_dir / "metrics.csv")["epoch"].tolist()


def assert_whole(run_dir, n_epochs=1):
    assert epochs(run_dir) == list(range(n_epochs))
    assert (run_dir / "evaluation" / "test").is_dir()
    assert (run_dir / "report.html").stat().st_size > 10_000


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """LibriSpeech's folders that the scripts read."""
    folders = ("train-clean-360", "train-clean-100", "dev-clean", "test-clean", "test-other")
    return librispeech(tmp_path_factory.mktemp("LibriSpeech"), folders)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_a_script_says_what_it_lacks(script, tmp_path):
    if script.parent.name != "toy":
        assert "needed" in run(script.parent.name, cwd=tmp_path, fails=True)
    assert "unknown option --misspelt" in run(script.parent.name, "--misspelt", "x", cwd=tmp_path, fails=True)
    assert "--recipe needs a value" in run(script.parent.name, "--recipe", cwd=tmp_path, fails=True)


@pytest.mark.parametrize("script", ["libri2mix", "wsj0_mix"])
def test_pre_training_says_what_it_lacks(script, tmp_path):
    own = {"libri2mix": ["--librispeech", "x", "--lists", "y"], "wsj0_mix": ["--wsj0-mix", "x"]}[script]
    message = run(script, *own, "--pretrain", "ssl/pretrain_se_libri1mix", cwd=tmp_path, fails=True)
    assert "--librispeech DIR and --noise DIR, or --libri1mix DIR, are needed" in message


@pytest.mark.slow
def test_libri1mix(speech, esc, tmp_path):
    words = ["--librispeech", speech, "--noise", esc, "--run-dir", tmp_path / "run", "--", *SMALL, *FEW]
    run("libri1mix", *words, cwd=tmp_path)
    assert_whole(tmp_path / "run")
    words[words.index("trainer.max_epochs=1")] = "trainer.max_epochs=2"
    run("libri1mix", *words, cwd=tmp_path)
    assert_whole(tmp_path / "run", n_epochs=2)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mama", "cc"])
def test_libri1mix_from_disk_with_a_pretext_task(task, tmp_path):
    root = libri1mix(tmp_path / "Libri1Mix", shortest=6000)
    words = ["--libri1mix", root, "--recipe", f"ssl/pretrain_{task}_libri1mix", "--run-dir", tmp_path / "run"]
    run("libri1mix", *words, "--", *SMALL, cwd=tmp_path)
    assert_whole(tmp_path / "run")


@pytest.mark.slow
def test_libri2mix_pre_trained_on_the_fly(speech, tmp_path):
    lists, noise = libri2mix_lists(speech, tmp_path / "lists"), noises(tmp_path / "noise")
    words = ["--librispeech", speech, "--lists", lists, "--noise", noise, "--pretrain", "ssl/pretrain_se_libri1mix"]
    words += ["--run-dir", tmp_path / "run"]
    run("libri2mix", *words, "--stop-stage", 1, "--", *SMALL, *FEW, cwd=tmp_path)
    assert epochs(tmp_path / "run" / "pretrain") == [0]
    assert "left out of the file" in run("libri2mix", *words, "--stage", 2, "--", *SMALL, cwd=tmp_path)
    assert_whole(tmp_path / "run")
    init = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["init"]
    assert (init["path"], init["new_output"]) == (str(tmp_path / "run" / "pretrain"), True)


@pytest.mark.slow
def test_wsj0_mix_pre_trained_and_from_scratch(tmp_path):
    root, pretrain = wsj0_mix(tmp_path / "wsj0-mix"), libri1mix(tmp_path / "Libri1Mix")
    words = ["--wsj0-mix", root, "--pretrain", "ssl/pretrain_se_libri1mix", "--libri1mix", pretrain]
    run("wsj0_mix", *words, "--run-dir", "a", "--", *SMALL, cwd=tmp_path)
    assert_whole(tmp_path / "a")
    run("wsj0_mix", *words, "--run-dir", "a", "--stop-stage", 2, "--", *SMALL, cwd=tmp_path)  # nothing is left to do
    assert [epochs(tmp_path / "a"), epochs(tmp_path / "a" / "pretrain")] == [[0], [0]]
    run("wsj0_mix", "--wsj0-mix", root, "--run-dir", "b", "--stop-stage", 2, "--", *SMALL, cwd=tmp_path)
    assert yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())["init"]["path"] is None
    assert not (tmp_path / "b" / "pretrain").exists()


SMALL_SUDORMRF = ["model.n_filters=16", "model.bn_chan=8", "model.num_blocks=2", "model.upsampling_depth=2"]


@pytest.mark.slow
def test_esc50(esc, tmp_path):
    words = [*[word for word in SMALL if "model." not in word], *SMALL_SUDORMRF, *FEW]
    run("esc50", "--esc50", esc, "--run-dir", "run", "--", *words, cwd=tmp_path)
    assert_whole(tmp_path / "run")


@pytest.mark.slow
def test_speech_esc(esc, speech, tmp_path):
    words = [*[word for word in SMALL if "model." not in word], *SMALL_SUDORMRF, *FEW, "data.valid_speakers=2"]
    run("speech_esc", "--librispeech", speech, "--esc50", esc, "--run-dir", "run", "--", *words, cwd=tmp_path)
    assert_whole(tmp_path / "run")


SMALL_REFINER = ["model.n_filters=16", "model.bn_chan=8", "model.upsampling_depth=2"]


@pytest.mark.slow
def test_wham_and_early_exit_from_there(tmp_path):
    root = wham(tmp_path / "wham")
    words = ["--wham", root, "--", *[word for word in SMALL if "model." not in word], *SMALL_REFINER]
    run("wham", "--run-dir", "a", *words, cwd=tmp_path)
    assert_whole(tmp_path / "a")
    more = ["--recipe", "lir/wham_early_exit", "--run-dir", "b", *words, f"init.path={tmp_path / 'a'}"]
    run("wham", *more, cwd=tmp_path)
    assert_whole(tmp_path / "b")
    assert pd.read_csv(tmp_path / "b" / "evaluation" / "test" / "utterances.csv")["n_iterations"].between(0, 4).all()
    run("wham", *more, cwd=tmp_path)  # nothing is left to do
    assert epochs(tmp_path / "b") == [0]


@pytest.mark.slow
def test_speech_and_noise_in_the_place_of_wham(speech, esc, tmp_path):
    words = [*[word for word in SMALL if "model." not in word], *SMALL_REFINER, *FEW, "data.base.valid_speakers=2"]
    run("wham", "--librispeech", speech, "--noise", esc, "--run-dir", "run", "--", *words, cwd=tmp_path)
    assert_whole(tmp_path / "run")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["recipe"] == "lir/mini_librispeech"


@pytest.mark.slow
def test_whamr_with_two_microphones_beside_a_beamformer_and_with_one(tmp_path):
    small = ["model.n_spatial=4", *SMALL]
    words = ["--whamr", whamr(tmp_path / "whamr", n_mics=2), "--run-dir"]
    run("whamr", *words, "two", "--oracle", "mvdr", "--", *small, cwd=tmp_path)
    assert_whole(tmp_path / "two")
    assert "oracle MVDR, 2 microphones" in (tmp_path / "two" / "report.html").read_text()
    run("whamr", *words, "two", "--oracle", "mvdr", "--", *small, cwd=tmp_path)  # nothing is left to do
    assert epochs(tmp_path / "two") == [0]
    run("whamr", *words, "one", "--", *SMALL, "data.mics=[0]", "model=convtasnet", cwd=tmp_path)
    assert_whole(tmp_path / "one")
    assert not (tmp_path / "one" / "evaluation" / "test_oracle_mvdr").exists()
