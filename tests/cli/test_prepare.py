"""``asteroid-stab prepare`` as it is called."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf
from runs import SMALL, assert_same_weights, stab

from asteroid_stab.cli.main import main
from asteroid_stab.data.lists.mixture_list import read_mixture_list


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    for speaker in range(6):
        for utterance in range(2):
            path = tmp_path / "speech" / "train-clean-100" / str(speaker) / "1" / f"{speaker}-1-{utterance}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, 0.05 * rng.standard_normal(10_000 + 1000 * utterance), 16_000)
    return tmp_path / "speech"


def prepare(corpus, out, *options):
    fixed = ["--librispeech", str(corpus), "--subset", "train-clean-100", "--out", str(out)]
    return main(["prepare", *fixed, "--min-seconds", "0.5", *options])


def test_lists_and_summary(corpus, tmp_path, capsys):
    options = ["--valid-speakers", "2", "--n-mixtures", "9", "--n-valid", "3", "--reuse", "--seed", "5"]
    assert prepare(corpus, tmp_path / "lists", *options) == 0
    lists = sorted(path.name for path in (tmp_path / "lists").glob("*.csv"))
    assert lists == ["libri2mix_train-clean-100-valid.csv", "libri2mix_train-clean-100.csv"]
    assert [len(read_mixture_list(tmp_path / "lists" / name)) for name in lists] == [3, 9]
    shown = capsys.readouterr().out
    assert all(name in shown.replace("\n", "") for name in lists)
    assert [line.split("│")[2].strip() for line in shown.splitlines() if "mixtures  " in line] == ["9", "3"]


def test_what_was_not_used_is_said(corpus, tmp_path, capsys):
    assert prepare(corpus, tmp_path / "lists", "--n-mixtures", "1", "--min-seconds", "0.65") == 0
    shown = capsys.readouterr().out
    assert "6 utterances were shorter than 0.65 s" in shown
    assert "4 (train-clean-100/" in shown.replace("│", "")


def test_noise(corpus, tmp_path):
    (tmp_path / "noise/tr").mkdir(parents=True)
    sf.write(tmp_path / "noise/tr/n.wav", 0.1 * np.random.default_rng(0).standard_normal((20_000, 2)), 16_000)
    sf.write(tmp_path / "noise/other.wav", np.zeros(20_000), 16_000)
    assert prepare(corpus, tmp_path / "lists", "--noise", str(tmp_path / "noise"), "--noise-subset", "tr") == 0
    mixtures = read_mixture_list(tmp_path / "lists/libri2mix_train-clean-100.csv")
    assert set(mixtures.noises) == {"tr/n.wav"}


def test_a_damaged_file_is_named_at_the_end(corpus, tmp_path, capsys):
    path = corpus / "train-clean-100/3/1/3-1-0.wav"
    path.write_bytes(path.read_bytes()[:-1000])
    assert prepare(corpus, tmp_path / "lists") == 2
    shown = capsys.readouterr()
    assert "1 files cannot be used; the lists were made without them" in shown.err
    assert f"{path}: truncated: its header states 20000 bytes of audio, it holds 19000" in shown.err
    assert len(read_mixture_list(tmp_path / "lists/libri2mix_train-clean-100.csv")) == 5
    assert "mixtures" in shown.out


def test_bad_input_exits_with_2_and_no_traceback(corpus, tmp_path, capsys):
    assert prepare(corpus, tmp_path / "lists", "--n-mixtures", "3000") == 2
    shown = capsys.readouterr().err
    assert "asteroid-stab prepare: error: libri2mix_train-clean-100: n_mixtures must be at most 6 " in shown
    assert "got 3000" in shown
    assert "Traceback" not in shown
    assert prepare(corpus, tmp_path / "lists") == 0
    assert prepare(corpus, tmp_path / "lists") == 2
    assert "must not be there yet; --overwrite" in capsys.readouterr().err.replace("\n", " ")
    assert prepare(corpus, tmp_path / "lists", "--overwrite") == 0


def test_unknown_option_exits_with_2(corpus, tmp_path):
    with pytest.raises(SystemExit) as caught:
        prepare(corpus, tmp_path, "--n-sources", "3")
    assert caught.value.code == 2


def test_a_subset_is_one_however_it_is_written(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prepare(corpus, tmp_path / "plain") == 0
    words = ["--librispeech", "~/speech", "--subset", "train-clean-100/", "./train-clean-100", "--out", "~/twice"]
    assert main(["prepare", *words, "--min-seconds", "0.5"]) == 0
    for name in ("libri2mix_train-clean-100.csv", "libri2mix_train-clean-100_info.json"):
        assert (tmp_path / "twice" / name).read_text() == (tmp_path / "plain" / name).read_text()
    assert len(list((tmp_path / "twice").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--subset", "../speech"], "a subset must be the name of a folder, got '../speech'"),
        (["--noise", "{tmp}", "--noise-subset", "../x"], "a subset of noise must be a path within the corpus"),
        (
            ["--subset", *(f"{'n' * 100}{i}" for i in range(3))],
            "the names of the lists, made of the subsets, must have",
        ),
        (["--min-seconds", "nan"], "min_seconds must be at least"),
        (["--out", "{tmp}/file/lists"], "cannot write to '{tmp}/file/lists': "),
    ],
)
def test_what_cannot_be_is_said_before_the_work(corpus, tmp_path, capsys, words, message, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("asteroid_stab.data.lists.maker.ListMaker.make", lambda *_: 1 / 0)
    assert prepare(corpus, tmp_path / "lists", *(word.format(tmp=tmp_path) for word in words)) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "lists").exists()


def test_an_empty_path_is_none(corpus, capsys):
    with pytest.raises(SystemExit):
        prepare(corpus, "")
    assert "argument --out: it needs a path, got nothing" in capsys.readouterr().err


def test_overwrite_removes_the_held_out_list_of_an_earlier_plan(corpus, tmp_path, capsys):
    """The new list may train on its speakers."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "libri2mix_other.csv").touch()
    assert prepare(corpus, tmp_path / "lists", "--valid-speakers", "2") == 0
    (tmp_path / "lists" / "libri2mix_train-clean-100.csv").unlink()
    assert prepare(corpus, tmp_path / "lists") == 2
    assert "-valid.csv must not be there yet; --overwrite replaces lists" in capsys.readouterr().err
    assert prepare(corpus, tmp_path / "lists", "--overwrite") == 0
    left = ["libri2mix_other.csv", "libri2mix_train-clean-100.csv", "libri2mix_train-clean-100_info.json"]
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == left


def test_a_full_disk_is_named(corpus, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asteroid_stab.data.lists.prepare.write_mixture_list", full)
    assert prepare(corpus, tmp_path / "full") == 2
    assert "cannot write the lists to '" in (error := capsys.readouterr().err)
    assert "No space left on device" in error


@pytest.mark.slow
def test_killed_at_random_moments_it_leaves_nothing_and_gives_the_same_lists(corpus, tmp_path):
    """Lists, and packed audio of a training: by SIGKILL and the two signals that a program may follow."""
    lists = ["prepare", "--librispeech", corpus, "--subset", "train-clean-100", "--min-seconds", "0.5"]
    of = [f"data.{split}_list=libri2mix_train-clean-100.csv" for split in ("train", "valid", "test")]
    small = [word for word in SMALL if not word.startswith(("data.", "loader."))]
    packing = ["train", "baseline/toy", *small, "data=librispeech", f"data.root={corpus}", *of, "loader.segment_s=0.3"]
    packing += ["loader.batch_size=1", "trainer.max_epochs=1", "logger=none", "--or-resume"]
    draw = random.Random(0)

    def commands(place):
        where = [f"data.list_root={place / 'lists'}", f"data.cache={place / 'cache'}", f"run_dir={place / 'run'}"]
        return [[*lists, "--out", place / "lists", "--overwrite"], [*packing, *where]]

    for words, disturbed in zip(commands(tmp_path / "whole"), commands(tmp_path / "killed"), strict=True):
        started = time.monotonic()
        stab(*words)
        seconds = time.monotonic() - started
        for number in draw.sample([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], 3):
            command = [sys.executable, "-m", "asteroid_stab.cli.main", *map(str, disturbed)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(draw.uniform(0.5, 1.0) * seconds)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            assert process.returncode in (0, -number, 128 + number), errors
            assert "Traceback" not in errors
        stab(*disturbed)
    for folder in ("lists", "cache"):
        made = {file.name: file.read_bytes() for file in (tmp_path / "killed" / folder).iterdir()}
        assert made == {file.name: file.read_bytes() for file in (tmp_path / "whole" / folder).iterdir()}
    assert_same_weights(tmp_path / "killed" / "run", tmp_path / "whole" / "run")
    assert list((tmp_path / "killed").rglob(".*")) == []
