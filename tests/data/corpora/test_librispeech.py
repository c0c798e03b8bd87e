"""Mixtures on the fly, against whole signals mixed step by step in float64, and everything that may be missing."""

import logging
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scipy.signal import resample_poly

from asteroid_stab.data import DynamicCorpus, LibriSpeechCorpus, MixtureDataModule
from asteroid_stab.data.corpora.librispeech import speaker_of
from asteroid_stab.data.dataset import crop_start
from asteroid_stab.data.lists.mixture_list import read_mixture_list
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import check_config


def make(speech, path, noise=None, **options):
    lists = dict.fromkeys(("train_list", "valid_list", "test_list"), str(path))
    noise = None if noise is None else str(noise)
    return LibriSpeechCorpus(**{"root": str(speech), "noise_root": noise, **lists, **options})


def reference(mixtures, row, speech, noise, task, mode, rate):
    """What LibriMix's generator does for one row, whole signals, float64."""
    paths, gains = mixtures.sources[row], mixtures.gains[row]
    signals = [sf.read(speech / path)[0] for path in paths]
    longest = max(map(len, signals))
    if task != "sep_clean":
        once = sf.read(noise / mixtures.noises[row])[0][:, 0]
        background, fall = once, 0.5 + 0.5 * np.cos(np.pi * np.arange(8001) / 8000)
        while len(background) < longest:
            seam = background[-8001:] * fall + once[:8001] * (1 - fall)
            background = np.concatenate([background[:-8001], seam, once[8001:]])
        signals.append(background[:longest])
        gains = [*gains, mixtures.noise_gains[row]]
    signals = [resample_poly(gain * signal, rate, 16_000) for gain, signal in zip(gains, signals, strict=True)]
    length = (min if mode == "min" else max)(map(len, signals))
    fitted = [np.pad(signal, (0, length))[:length] for signal in signals]
    if task == "enh_single":
        return fitted[0] + fitted[-1], np.stack(fitted[:1])
    return sum(fitted), np.stack(fitted[: len(paths)])


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("task", "n_src"), [("sep_clean", 2), ("sep_noisy", 3), ("enh_single", 2), ("sep_clean", 5)])
def test_whole_mixtures_are_the_generators(speech, noise, tmp_path, write_list, rate, mode, task, n_src):
    path = write_list(tmp_path / "l.csv", n_src, n_mixtures=6)
    n_out = 1 if task == "enh_single" else n_src
    data = make(speech, path, noise, task=task, mode=mode, sample_rate=rate, n_src=n_out)
    got, listed = data.dataset("test"), read_mixture_list(path)
    assert got.names == [f"mix-{i}" for i in range(6)]
    for item in range(6):
        mixture, sources, identity = got[item]
        wanted_mixture, wanted = reference(listed, item, speech, noise, task, mode, rate)
        assert identity == item
        assert (mixture.dtype, sources.shape) == (torch.float32, (n_out, len(wanted_mixture)))
        np.testing.assert_allclose(mixture, wanted_mixture, atol=3e-7)
        np.testing.assert_allclose(sources, wanted, atol=3e-7)


def test_16_bit_files_of_real_mixtures_are_one_step_off(shared_data, tmp_path):
    """Written as the generator writes them (soundfile's 16 bits), they differ by the rounding alone."""
    root = shared_data / "LibriSpeech"
    paths = sorted(root.rglob("*.flac"))[::40]
    rows = ["mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain"]
    rows += [f"{i},{a.relative_to(root)},0.6,{b.relative_to(root)},0.8" for i, (a, b) in enumerate(pairwise(paths))]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    mixtures = make(root, tmp_path / "l.csv", mode="max").dataset("test")
    for item, (a, b) in enumerate(pairwise(paths)):
        x, y = (sf.read(path, dtype="float32")[0] for path in (a, b))
        x, y = resample_poly(x * 0.6, 8000, 16_000), resample_poly(y * 0.8, 8000, 16_000)
        length = max(len(x), len(y))
        sf.write(tmp_path / "mix.wav", np.pad(x, (0, length - len(x))) + np.pad(y, (0, length - len(y))), 8000)
        written = sf.read(tmp_path / "mix.wav")[0]
        assert np.abs(mixtures[item][0].numpy() - written).max() <= 1 / 32_768


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_crop_is_the_slice_of_the_whole(speech, noise, tmp_path, write_list, mode, cached):
    path = write_list(tmp_path / "l.csv", 3, n_mixtures=6)
    data = make(
        speech, path, noise, task="sep_noisy", mode=mode, n_src=3, cache=str(tmp_path / "c") if cached else None
    )
    whole, crops = data.dataset("train", None), data.dataset("train", 0.5)
    for epoch in (0, 3):
        for item in range(6):
            start = crop_start(0, epoch, item, whole.lengths[item], 4000)
            mixture, sources, _ = crops[(epoch, item)]
            assert torch.equal(mixture, whole[item][0][start : start + 4000])
            assert torch.equal(sources, whole[item][1][:, start : start + 4000])


@pytest.mark.parametrize("cached", [False, True])
def test_what_16_bits_cannot_hold_is_clipped(speech, tmp_path, write_list, cached):
    path = write_list(tmp_path / "l.csv", gains=(8.0, 9.0), noise=False)
    data = make(speech, path, sample_rate=16_000, cache=str(tmp_path / "c") if cached else None)
    listed, mixtures = read_mixture_list(path), data.dataset("test")
    mixture, sources, _ = mixtures[0]
    wanted_mixture, wanted = reference(listed, 0, speech, None, "sep_clean", "min", 16_000)
    assert np.abs(wanted).max() > 1.1
    np.testing.assert_allclose(sources, np.clip(wanted, -1, 32_767 / 32_768), atol=1e-6)
    np.testing.assert_allclose(mixture, np.clip(wanted_mixture, -1, 32_767 / 32_768), atol=1e-6)


def test_a_source_of_gain_zero_does_not_hide_that_another_clips(speech, tmp_path, write_list):
    lines = write_list(tmp_path / "l.csv", noise=False, n_mixtures=1).read_text().splitlines()
    name, first, _, second, _ = lines[1].split(",")
    (tmp_path / "l.csv").write_text(f"{lines[0]}\n{name},{first},0.0,{second},9.0\n")
    mixture, sources, _ = make(speech, tmp_path / "l.csv").dataset("test")[0]
    assert sources[0].abs().max() == 0
    assert mixture.abs().max() == 1
    assert torch.equal(mixture, sources[1])


def test_workers_change_nothing(speech, noise, tmp_path, write_list):
    path = write_list(tmp_path / "l.csv", n_mixtures=6)
    batches = []
    for n_workers in (0, 2):
        corpus = make(speech, path, noise, task="sep_noisy", cache=str(tmp_path / "c"))
        data = MixtureDataModule(corpus, 0.5, batch_size=2, num_workers=n_workers)
        data.prepare_data()
        data.setup("fit")
        batches.append([*data.train_dataloader(), *data.val_dataloader()])
    assert len(batches[0]) == 6
    for one, other in zip(*batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_noise_is_not_needed_for_clean_mixtures(speech, tmp_path, write_list):
    """LibriMix#20: clean mixtures cannot be made without the noise corpus."""
    noisy, clean = (write_list(tmp_path / f"{n}.csv", noise=n) for n in (True, False))
    assert torch.equal(make(speech, noisy).dataset("test")[0][0], make(speech, noisy, "/nowhere").dataset("test")[0][0])
    assert len(make(speech, clean).dataset("test")) == 4


def test_lists_may_be_relative_to_a_folder(speech, tmp_path, write_list, monkeypatch):
    write_list(tmp_path / "l.csv")
    assert len(make(speech, "l.csv", list_root=str(tmp_path)).dataset("test")) == 4
    monkeypatch.chdir(tmp_path)
    assert len(make(speech, "l.csv").dataset("test")) == 4


@pytest.mark.parametrize("n_src", [2, 3])
def test_published_lists_without_their_corpus_stop_with_a_count(shared_data, speech, n_src):
    path = shared_data / f"LibriMix/metadata/Libri{n_src}Mix/libri{n_src}mix_test-clean.csv"
    with pytest.raises(StabError) as caught:
        make(speech, path, n_src=n_src).dataset("test")
    message = str(caught.value)
    assert f"3000 of the 3000 mixtures of {path} need files that are missing" in message
    assert f"{speech}/test-clean/4077/13754/4077-13754-0001.flac, " in message
    assert message.endswith("...); skip_missing=true leaves these mixtures out")


def test_missing_files_stop_the_run_or_are_left_out(tmp_path, make_speech, noise, write_list, caplog):
    make_speech(tmp_path)
    path = write_list(tmp_path / "l.csv", n_mixtures=6)
    listed = read_mixture_list(path)
    (tmp_path / listed.sources[2][1]).unlink()
    uses = [listed.sources[2][1] in row for row in listed.sources]
    with pytest.raises(
        StabError, match=rf"{sum(uses)} of the 6 mixtures of .*\(1 files: {tmp_path}/{listed.sources[2][1]}\)"
    ):
        make(tmp_path, path).dataset("test")
    with caplog.at_level(logging.WARNING):
        mixtures = make(tmp_path, path, skip_missing=True).dataset("test")
    assert mixtures.names == [name for name, use in zip(listed.names, uses, strict=True) if not use]
    assert f"{sum(uses)} of the 6 mixtures" in caplog.text
    np.testing.assert_allclose(
        mixtures[-1 % len(mixtures)][0],
        reference(listed, listed.names.index(mixtures.names[-1]), tmp_path, None, "sep_clean", "min", 8000)[0],
        atol=3e-7,
    )


def test_missing_noise_counts_and_nothing_may_remain(speech, tmp_path, write_list):
    path = write_list(tmp_path / "l.csv")
    (tmp_path / "noise").mkdir()
    message = r"4 of the 4 mixtures of .*\(3 files: .*tt/n0\.wav, .*; without them nothing remains"
    with pytest.raises(StabError, match=message):
        make(speech, path, tmp_path / "noise", task="sep_noisy", skip_missing=True).dataset("test")


def test_number_of_sources_must_be_the_lists(speech, tmp_path, write_list):
    path = write_list(tmp_path / "l.csv", 3)
    with pytest.raises(StabError, match=r"l\.csv has 3 sources in a mixture, but n_src=2 was asked for"):
        make(speech, path, n_src=2).dataset("test")


def test_where_things_are_must_be_said(speech, noise, tmp_path, write_list):
    path = write_list(tmp_path / "l.csv")
    with pytest.raises(StabError, match=r"^root is not set; set root=FOLDER to the LibriSpeech folder$"):
        make(speech, path, root=None).dataset("test")
    with pytest.raises(StabError, match=r"^root: there is no folder /nowhere; set root=FOLDER to the LibriSpeech "):
        make("/nowhere", path).dataset("test")
    with pytest.raises(StabError, match=r"^noise_root is not set; set noise_root=FOLDER to the noise corpus$"):
        make(speech, path, task="sep_noisy").dataset("test")
    with pytest.raises(
        StabError, match=r"^noise_root: there is no folder /nowhere; set noise_root=FOLDER to the noise"
    ):
        make(speech, path, "/nowhere", task="enh_single", n_src=1).dataset("test")
    with pytest.raises(StabError, match=r"^test_list is not set; set test_list=FILE\.csv to a mixture list$"):
        make(speech, path, test_list=None).dataset("test")
    with pytest.raises(StabError, match=r"no mixture list .*other\.csv; `asteroid-stab prepare`"):
        make(speech, tmp_path / "other.csv").dataset("test")
    clean = write_list(tmp_path / "clean.csv", noise=False)
    with pytest.raises(StabError, match=r"task sep_noisy must have noise, but .*clean\.csv has no noise_path"):
        make(speech, clean, noise, task="sep_noisy").dataset("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sep_clear"}, r"task must be one of .*, got 'sep_clear' \(did you mean 'sep_clean'\?\)"),
        ({"mode": "mix"}, "mode must be one of min, max, got 'mix'"),
        ({"sample_rate": 44_100}, "sample_rate must be 8000 or 16000, got 44100"),
        ({"task": "enh_single"}, "n_src must be 1 for task enh_single, got 2"),
    ],
)
def test_arguments_out_of_range(speech, options, message):
    with pytest.raises(ValueError, match=message):
        make(speech, "l.csv", **options)


def spoil(tmp_path, make_speech, write_list, rewrite):
    """A corpus of which one file that the list needs is rewritten; the data module, and the file's name."""
    make_speech(tmp_path)
    path = write_list(tmp_path / "l.csv", noise=False)
    file = tmp_path / read_mixture_list(path).sources[0][0]
    rewrite(file)
    return make(tmp_path, path), file.name


@pytest.mark.parametrize(
    ("rewrite", "message"),
    [
        (lambda file: sf.write(file, np.zeros(20_000), 8000), "must be sampled at 16000 Hz, got 8000 Hz"),
        (lambda file: sf.write(file, np.zeros((20_000, 2)), 16_000), "must have 1 channel, got 2"),
        (lambda file: file.write_bytes(b"no audio"), "cannot read the audio file"),
    ],
)
def test_files_that_cannot_be_used_stop_before_training(tmp_path, make_speech, write_list, rewrite, message):
    data, name = spoil(tmp_path, make_speech, write_list, rewrite)
    with pytest.raises(StabError, match=message) as caught:
        data.dataset("test")
    assert name in str(caught.value)


def test_a_truncated_file_is_named_when_it_is_read(tmp_path, make_speech, write_list):
    data, name = spoil(tmp_path, make_speech, write_list, lambda file: file.write_bytes(file.read_bytes()[:6000]))
    with pytest.raises(StabError, match=name):
        data.dataset("test")[0]


def test_nan_samples_are_refused(tmp_path, make_speech, write_list):
    def rewrite(file: Path):
        sf.write(file.with_suffix(".wav"), np.full(20_000, np.nan), 16_000, subtype="FLOAT")
        file.with_suffix(".wav").rename(file)  # the format is read off the file, not its name

    data, _ = spoil(tmp_path, make_speech, write_list, rewrite)
    with pytest.raises(StabError, match="must be finite, got NaN or infinite samples in item 'mix-0'"):
        data.dataset("test")[0]


def test_mixtures_shorter_than_the_segment_are_left_out(speech, tmp_path, write_list):
    path = write_list(tmp_path / "l.csv", n_mixtures=10)
    lengths = make(speech, path).dataset("test").lengths
    segment_s = sorted(lengths)[5] / 8000
    crops = make(speech, path).dataset("train", segment_s)
    assert (len(crops), crops.n_short) == (5, 5)
    with pytest.raises(StabError, match=r"no mixture is as long as segment_s=9\.0"):
        make(speech, path).dataset("train", 9.0)


@pytest.mark.parametrize("cached", [False, True])
def test_short_mixtures_are_padded_from_files_and_from_the_packed_cache(speech, noise, tmp_path, write_list, cached):
    path = write_list(tmp_path / "l.csv", n_mixtures=10)
    data = make(speech, path, noise, task="sep_noisy", cache=str(tmp_path / "c") if cached else None)
    whole = data.dataset("train")
    segment = sorted(whole.lengths)[5]
    padded = data.padded_dataset("train", segment / 8000)
    assert (len(padded), padded.n_padded, padded.fingerprint) == (10, 5, whole.fingerprint)
    for item, length in enumerate(whole.lengths):
        mixture, sources, _, true = padded[2, item]
        assert (true, len(mixture)) == (min(length, segment), segment)
        if length <= segment:
            assert mixture[:length].equal(whole[item][0])
            assert sources[:, :length].equal(whole[item][1])
            assert not mixture[length:].any()


def test_utterances_for_dynamic_mixing(speech, tmp_path, write_list):
    path = write_list(tmp_path / "l.csv", n_mixtures=12, noise=False)
    data, listed = make(speech, path), read_mixture_list(path)
    utterances = data.utterances("train")
    assert list(utterances.names) == sorted({name for row in listed.sources for name in row})
    assert utterances.speakers == [name.split("/")[1] for name in utterances.names]
    gains = {name: [] for name in utterances.names}
    for names, values in zip(listed.sources, listed.gains, strict=True):
        for name, gain in zip(names, values, strict=True):
            gains[name].append(gain)
    assert max(map(len, gains.values())) > 1
    for i, name in enumerate(utterances.names):
        whole = resample_poly(sf.read(speech / name)[0], 8000, 16_000)
        assert utterances.lengths[i] == len(whole)
        gain = math.prod(gains[name]) ** (1 / len(gains[name]))  # the mean in dB
        np.testing.assert_allclose(utterances.read(i, 100, 900), gain * whole[100:900], atol=1e-6)
    dynamic = DynamicCorpus(make(speech, path), n_train=4)
    mixture, sources, _ = dynamic.dataset("train", 0.5)[(1, 2)]
    torch.testing.assert_close(mixture, sources.sum(0))


def test_speaker_of_an_utterance():
    assert speaker_of("train-clean-100/103/1240/103-1240-0000.flac") == "103"
    with pytest.raises(StabError, match=r"must be subset/speaker/\.\.\./utterance, got '103/a\.flac'"):
        speaker_of("103/a.flac")


@pytest.mark.parametrize(
    ("name", "lists"),
    [
        ("librispeech", ["libri3mix_train-clean-100.csv", "libri3mix_dev-clean.csv", "libri3mix_test-clean.csv"]),
        (
            "mini_librispeech",
            ["libri3mix_train-clean-100.csv", "libri3mix_train-clean-100-valid.csv", "libri3mix_test-other.csv"],
        ),
    ],
)
def test_config(name, lists):
    conf = Path(__file__).resolve().parents[3] / "conf"
    with initialize_config_dir(str(conf), version_base=None):
        config = compose("train", [f"data={name}", "data.n_src=3", "data.root=/corpus"])
    check_config(config.data)
    data = instantiate(config.data)
    assert isinstance(data, LibriSpeechCorpus)
    assert list(data.lists.values()) == lists
    assert (data.root, data.n_src, data.task, data.mode) == ("/corpus", 3, "sep_clean", "min")


def test_dynamic_mixing_refuses_a_task_with_noise(speech):
    data = LibriSpeechCorpus(root=str(speech), task="sep_noisy", train_list="any.csv")
    with pytest.raises(StabError, match="^task must be 'sep_clean' where utterances are mixed, .*, got 'sep_noisy'"):
        data.utterances("train")
