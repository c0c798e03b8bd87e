"""``asteroid-stab prepare`` as it is called."""

import numpy as np
import pytest
import soundfile as sf

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
