"""Lists that are made: their speakers, loudness and peaks, the same anywhere, and what stops them."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyloudnorm
import pytest
import soundfile as sf

from asteroid_stab.data import LibriSpeechCorpus
from asteroid_stab.data.lists.mixture_list import read_mixture_list
from asteroid_stab.data.lists.prepare import Plan, prepare_lists
from asteroid_stab.errors import StabError

PLAN = Plan(["train-clean-100"], min_seconds=0.5)
NAME = "libri2mix_train-clean-100"


def speaker(path):
    return path.split("/")[1]


def test_each_utterance_is_used_once_by_default(speech, tmp_path):
    (summary,) = prepare_lists(PLAN, speech, tmp_path)
    mixtures = read_mixture_list(tmp_path / f"{NAME}.csv")
    used = list(itertools.chain(*mixtures.sources))
    assert sorted(used) == sorted(p.relative_to(speech).as_posix() for p in speech.rglob("*.flac"))
    assert all(len(set(map(speaker, row))) == 2 for row in mixtures.sources)
    assert mixtures.noises == []
    assert (summary.n_mixtures, summary.n_speakers, summary.unused, summary.n_too_short) == (9, 6, [], 0)
    lengths = [[sf.info(speech / path).duration for path in row] for row in mixtures.sources]
    assert summary.hours_min == pytest.approx(sum(map(min, lengths)) / 3600)
    assert summary.hours_max == pytest.approx(sum(map(max, lengths)) / 3600)
    first = mixtures.sources[0]
    assert mixtures.names[0] == "_".join(path.split("/")[-1][:-5] for path in first)  # as LibriMix names it


@pytest.fixture(scope="module")
def bursts(make_speech, tmp_path_factory):
    """Speech whose loudest tenth of a second coincides in all utterances, so that mixtures clip and sources do not."""
    root = make_speech(tmp_path_factory.mktemp("bursts"))
    tone = 0.4 * np.sin(2 * np.pi * 1000 / 16_000 * np.arange(1600))
    for path in root.rglob("*.flac"):
        signal = sf.read(path)[0]
        signal[:1600] += tone
        sf.write(path, signal, 16_000)
    return root


@pytest.mark.parametrize("with_noise", [False, True])
def test_loudness_and_peaks_are_those_of_librimix(bursts, noise, tmp_path, with_noise):
    plan = replace(PLAN, n_src=5, n_mixtures=40, reuse=True)
    (summary,) = prepare_lists(plan, bursts, tmp_path, noise_root=noise if with_noise else None)
    data = LibriSpeechCorpus(
        root=str(bursts),
        noise_root=str(noise),
        test_list=str(tmp_path / "libri5mix_train-clean-100.csv"),
        task="sep_noisy" if with_noise else "sep_clean",
        mode="max",
        sample_rate=16_000,
        n_src=5,
    )
    mixtures = data.dataset("test")
    meter = pyloudnorm.Meter(16_000)
    n_turned_down = 0
    for item in range(len(mixtures)):
        mixture, sources, _ = mixtures[item]
        parts = [*sources.numpy(), *([mixture.numpy() - sources.sum(0).numpy()] if with_noise else [])]
        tracks = mixtures.mixtures.sources[item]
        ends = [*(mixtures.mixtures.tracks.lengths[t] for t in tracks), *([len(mixture)] if with_noise else [])]
        levels = [meter.integrated_loudness(part[:end]) for part, end in zip(parts, ends, strict=True)]
        lows = np.array([-33.0] * 5 + [-38.0] * with_noise)
        peak = float(mixture.abs().max())
        assert peak <= 0.9001
        if peak > 0.8999:
            n_turned_down += 1
            assert max(levels - lows) < 8.05
        else:
            assert min(levels - lows) > -0.05
            assert max(levels - lows) < 8.05
    assert 0 < n_turned_down < 40
    assert (summary.n_clipped_sources, summary.n_clipped_mixtures) == (0, n_turned_down)


def test_a_source_that_would_clip_counts(tmp_path, make_speech):
    make_speech(tmp_path, 2, 1)
    spike = np.full(16_000, 1e-3)
    spike[8000] = 0.9
    path = tmp_path / "train-clean-100/100/7/100-7-0000.flac"
    sf.write(path, spike, 16_000)
    (summary,) = prepare_lists(PLAN, tmp_path, tmp_path / "lists")
    assert summary.n_clipped_sources == 1
    mixtures = read_mixture_list(tmp_path / "lists" / f"{NAME}.csv")
    gain = mixtures.gains[0][mixtures.sources[0].index("train-clean-100/100/7/100-7-0000.flac")]
    assert gain * 0.9 <= 0.9001


def test_the_same_lists_in_another_process_and_at_another_place(speech, noise, tmp_path):
    """LibriMix#23: lists are not reproducible by their seed."""
    code = (
        "import sys; from asteroid_stab.data.lists.prepare import Plan, prepare_lists; "
        "prepare_lists(Plan(['train-clean-100'], 3, 20, seed=4, valid_speakers=3, n_valid=5, reuse=True,"
        " min_seconds=0.5), *sys.argv[1:])"
    )
    (tmp_path / "moved").symlink_to(speech)
    args = [sys.executable, "-c", code, str(tmp_path / "moved"), str(tmp_path / "there"), str(noise)]
    subprocess.run(args, env={**os.environ, "PYTHONHASHSEED": "12345"}, check=True)
    plan = replace(PLAN, n_src=3, n_mixtures=20, seed=4, valid_speakers=3, n_valid=5, reuse=True)
    prepare_lists(plan, speech, tmp_path / "here", noise)
    stem = "libri3mix_train-clean-100"
    for name in (f"{stem}{part}" for part in (".csv", "-valid.csv", "_info.json", "-valid_info.json")):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_another_seed_gives_another_list(speech, tmp_path):
    prepare_lists(PLAN, speech, tmp_path / "a")
    prepare_lists(replace(PLAN, seed=1), speech, tmp_path / "b")
    one, other = (read_mixture_list(tmp_path / folder / f"{NAME}.csv") for folder in "ab")
    assert one.sources != other.sources


def test_validation_speakers_and_noises_are_not_in_training(speech, noise, tmp_path):
    plan = replace(PLAN, valid_speakers=2, n_mixtures=20, n_valid=9, reuse=True)
    train, valid = prepare_lists(plan, speech, tmp_path, noise_root=noise)
    lists = [read_mixture_list(tmp_path / f"{NAME}{part}.csv") for part in ("", "-valid")]
    speakers = [{speaker(path) for row in mixtures.sources for path in row} for mixtures in lists]
    assert list(map(len, speakers)) == [4, 2] == [train.n_speakers, valid.n_speakers]
    assert not speakers[0] & speakers[1]
    assert not set(lists[0].noises) & set(lists[1].noises)
    assert [len(mixtures) for mixtures in lists] == [20, 9]
    assert (train.noise_passes, valid.noise_passes) == (10, 9)
    info = json.loads((tmp_path / f"{NAME}-valid_info.json").read_text())
    assert info["plan"]["valid_speakers"] == 2
    assert info["list"]["n_mixtures"] == 9


def test_twenty_sources(tmp_path, make_speech):
    make_speech(tmp_path, 22, 2)
    plan = replace(PLAN, n_src=20, n_mixtures=25, reuse=True)
    prepare_lists(plan, tmp_path, tmp_path / "lists")
    data = LibriSpeechCorpus(
        root=str(tmp_path), test_list=str(tmp_path / "lists/libri20mix_train-clean-100.csv"), n_src=20
    )
    mixtures = data.dataset("test")
    assert mixtures[0][1].shape[0] == 20
    assert all(len(name) < 200 for name in mixtures.names)  # they become file names
    assert len(set(mixtures.names)) == 25


def test_names_that_only_a_speaker_tells_apart(tmp_path, make_speech):
    make_speech(tmp_path, 2, 1)
    for folder in ("100", "101"):
        (source,) = (tmp_path / "train-clean-100" / folder / "7").iterdir()
        source.rename(source.with_name("1.flac"))
    prepare_lists(PLAN, tmp_path, tmp_path / "lists")
    (name,) = read_mixture_list(tmp_path / "lists" / f"{NAME}.csv").names
    assert sorted(name.split("_")) == ["train-clean-100-100-7-1", "train-clean-100-101-7-1"]


def test_short_utterances_are_left_out(speech, tmp_path):
    (summary,) = prepare_lists(replace(PLAN, min_seconds=1.1, n_mixtures=2), speech, tmp_path)
    durations = [sf.info(path).duration for path in speech.rglob("*.flac")]
    assert summary.n_too_short == sum(seconds < 1.1 for seconds in durations) > 0
    assert len(summary.unused) == len(durations) - summary.n_too_short - 4


def test_lists_are_not_overwritten_unless_told(speech, tmp_path):
    prepare_lists(PLAN, speech, tmp_path)
    before = (tmp_path / f"{NAME}.csv").read_bytes()
    with pytest.raises(StabError, match=rf"{NAME}\.csv must not be there yet; --overwrite"):
        prepare_lists(replace(PLAN, seed=1, valid_speakers=2), speech, tmp_path)
    assert (tmp_path / f"{NAME}.csv").read_bytes() == before
    assert not (tmp_path / f"{NAME}-valid.csv").exists()
    prepare_lists(replace(PLAN, seed=1), speech, tmp_path, overwrite=True)
    assert (tmp_path / f"{NAME}.csv").read_bytes() != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mixtures": 10}, rf"{NAME}: n_mixtures must be at most 9 .*; 135 with reuse\), got 10"),
        ({"n_mixtures": 136, "reuse": True}, rf"{NAME}: n_mixtures must be at most 135 .* got 136"),
        ({"n_src": 7}, "n_src must be at most 6, the number of speakers, got 7"),
        ({"valid_speakers": 5}, "valid_speakers must leave n_src=2 of the 6 speakers for the other list, got 5"),
        ({"valid_speakers": 7}, "valid_speakers must leave n_src=2 of the 6 speakers for the other list, got 7"),
        ({"valid_speakers": 2, "n_valid": 4}, rf"{NAME}-valid: n_valid must be at most 3 .* got 4"),
    ],
)
def test_what_cannot_be_made_writes_nothing(speech, tmp_path, changes, message):
    with pytest.raises(StabError, match=message):
        prepare_lists(replace(PLAN, **changes), speech, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_src": 0}, "n_src must be at least 1, got 0"),
        ({"n_mixtures": 0}, "n_mixtures must be at least 1, got 0"),
        ({"valid_speakers": -1}, "valid_speakers must be at least 0, got -1"),
        ({"valid_speakers": 1}, "valid_speakers must be at least n_src=2, the speakers of a mixture, got 1"),
        ({"min_seconds": 0.3}, "min_seconds must be at least 0.4, got 0.3"),
        ({"n_valid": 4}, "n_valid needs valid_speakers, got n_valid=4"),
        ({"subsets": []}, "subsets must name a folder of the corpus, got none"),
    ],
)
def test_plans_that_make_no_sense(changes, message):
    with pytest.raises(StabError, match=message):
        replace(PLAN, **changes)


def test_audio_that_cannot_be_used_stops_before_a_list_is_there(tmp_path, make_speech):
    make_speech(tmp_path, 3, 1)
    path = tmp_path / "train-clean-100/101/7/101-7-0000.flac"
    whole = path.read_bytes()
    plan = replace(PLAN, n_mixtures=3, reuse=True)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StabError, match=r"101-7-0000\.flac"):
        prepare_lists(plan, tmp_path, tmp_path / "lists")
    sf.write(path, np.zeros(16_000), 16_000)
    with pytest.raises(StabError, match=r"101-7-0000\.flac must be louder than -70 LUFS, got silence"):
        prepare_lists(plan, tmp_path, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def damage(path, kind):
    """Damages a file so that its header, its end or its samples show it."""
    if kind == "text":
        path.write_text("no audio")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "rate":
        sf.write(path, sf.read(path)[0], 22_050)
    elif kind == "silent":
        sf.write(path, np.zeros(20_000), 16_000)
    else:
        signal = np.full(20_000, 0.1)
        signal[4000] = np.nan
        sf.write(path.with_suffix(".wav"), signal, 16_000, "FLOAT")
        path.unlink()
        return path.with_suffix(".wav")
    return path


def test_damaged_files_are_left_out_as_if_they_were_not_there(tmp_path, make_speech, noise):
    """One bad file ends no job: the lists are those of the folder without it, and it is named."""
    plan = replace(PLAN, n_mixtures=12, reuse=True, valid_speakers=3, n_valid=3)
    reasons = {
        "text": "cannot read the audio file .*100-7-0000.flac",
        "cut": "101-7-0000.flac",
        "rate": "102-7-0000.flac must be sampled at 16000 Hz, got 22050",
        "silent": "103-7-0000.flac must be louder than -70 LUFS, got silence",
        "nan": "104-7-0000.wav must hold finite samples, got nan at 0.25 s",
    }
    for root, noises in ((tmp_path / "damaged", tmp_path / "noisy"), (tmp_path / "clean", tmp_path / "quiet")):
        make_speech(root)
        shutil.copytree(noise, noises)
    bad = []
    for speaker, kind in enumerate(reasons, start=100):
        name = f"train-clean-100/{speaker}/7/{speaker}-7-0000.flac"
        bad.append(damage(tmp_path / "damaged" / name, kind))
        (tmp_path / "clean" / name).unlink()
    bad.append(tmp_path / "noisy/tt/n1.wav")
    damage(bad[-1], "cut")
    (tmp_path / "quiet/tt/n1.wav").unlink()
    made = prepare_lists(plan, tmp_path / "damaged", tmp_path / "lists", tmp_path / "noisy")
    clean = prepare_lists(plan, tmp_path / "clean", tmp_path / "wanted", tmp_path / "quiet")
    for summary in made:
        assert sorted(summary.damaged) == sorted(map(str, bad))
        for path, reason in zip(bad, [*reasons.values(), "n1.wav: truncated"], strict=True):
            assert re.search(reason, summary.damaged[str(path)])
    for name in (f"{NAME}.csv", f"{NAME}-valid.csv"):
        assert (tmp_path / "lists" / name).read_bytes() == (tmp_path / "wanted" / name).read_bytes()
    assert [summary.damaged for summary in clean] == [{}, {}]
    info = json.loads((tmp_path / "lists" / f"{NAME}_info.json").read_text())
    assert info["list"]["damaged"] == sorted(
        ["tt/n1.wav", *(str(p.relative_to(tmp_path / "damaged")) for p in bad[:-1])]
    )


def test_a_corpus_of_damaged_files_alone(tmp_path, make_speech):
    make_speech(tmp_path, 2, 1)
    for path in list(tmp_path.rglob("*.flac")):
        damage(path, "rate")
    with pytest.raises(StabError, match=r"none of the 2 audio files of .* can be used: .*must be sampled at 16000 Hz"):
        prepare_lists(PLAN, tmp_path, tmp_path / "lists")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_seconds": 3.0}, r"min_seconds must be at most 1\.\d\d, the longest of 18 utterances, got 3.0"),
        (
            {"min_seconds": 1.38},
            r"number of speakers, got 2 \(1[67] utterances are shorter than min_seconds=1.38, all of",
        ),
        ({"n_src": 7}, r"got 7 \(speakers are the folders in train-clean-100: 100, 101, 102, \.\.\.\)"),
    ],
)
def test_short_corpora_get_the_true_reason(speech, tmp_path, changes, message):
    with pytest.raises(StabError, match=message):
        prepare_lists(replace(PLAN, **changes), speech, tmp_path / "lists")


def test_nested_folders_get_the_true_reason(tmp_path, make_speech):
    make_speech(tmp_path / "LibriSpeech/LibriSpeech")
    with pytest.raises(
        StabError, match=rf"no subset .*; it has LibriSpeech; {tmp_path}/LibriSpeech/LibriSpeech has it"
    ):
        prepare_lists(PLAN, tmp_path / "LibriSpeech", tmp_path / "lists")
    make_speech(tmp_path / "twice/train-clean-100")
    with pytest.raises(StabError, match=r"speakers are the folders in train-clean-100: train-clean-100\)"):
        prepare_lists(PLAN, tmp_path / "twice", tmp_path / "lists")


def test_noise_that_cannot_be_used(speech, tmp_path):
    sf.write(tmp_path / "short.wav", 0.1 * np.ones(8001), 16_000)
    with pytest.raises(StabError, match=r"short\.wav cannot be repeated to .* longer than 8001 samples"):
        prepare_lists(PLAN, speech, tmp_path / "lists", noise_root=tmp_path)
    with pytest.raises(StabError, match="at least 2 noises, one to hold out, got 1"):
        prepare_lists(replace(PLAN, valid_speakers=2), speech, tmp_path / "lists", noise_root=tmp_path)


def test_real_speech(shared_data, tmp_path):
    (summary,) = prepare_lists(
        Plan(["test-other"], n_src=2, n_mixtures=30, reuse=True), shared_data / "LibriSpeech", tmp_path
    )
    assert (summary.n_mixtures, summary.n_speakers) == (30, 5)
    with pytest.raises(StabError, match=r"at most 807 \(45 utterances of 5 speakers"):
        prepare_lists(
            Plan(["test-other"], n_src=2, n_mixtures=3000, reuse=True), shared_data / "LibriSpeech", tmp_path / "x"
        )


def test_lists_of_one_speaker_and_noise_are_libri1mix(speech, noise, tmp_path):
    plan = replace(PLAN, n_src=1, noise_subset="tt", valid_speakers=2)
    made = prepare_lists(plan, speech, tmp_path, noise)
    assert [summary.n_mixtures for summary in made] == [12, 6]
    lists = {"train_list": "libri1mix_train-clean-100.csv", "valid_list": "libri1mix_train-clean-100-valid.csv"}
    data = LibriSpeechCorpus(str(speech), str(noise), str(tmp_path), task="enh_single", n_src=1, **lists)
    mixture, sources, _ = data.dataset("valid")[0]
    assert sources.shape == (1, len(mixture))
    assert 0.01 < (mixture - sources[0]).std() / sources.std() < 1.0
