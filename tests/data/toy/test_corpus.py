"""The embedded corpus: who speaks in it, what a mixture is, and what its seeds decide."""

import inspect
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from asteroid_stab.data import MixtureDataModule, ToyCorpus
from asteroid_stab.data.dataset import crop_start
from asteroid_stab.data.toy.corpus import LEVEL_DB
from asteroid_stab.data.toy.voices import kind
from asteroid_stab.errors import StabError

SMALL = {"n_utterances": 1, "n_train": 40, "n_valid": 6, "n_test": 6}


@pytest.fixture(scope="module")
def corpus():
    return ToyCorpus(**SMALL)


def test_eighty_speakers_and_more_and_none_in_two_splits(corpus):
    speakers = {split: set(corpus.utterances(split).speakers) for split in ("train", "valid", "test")}
    assert len(speakers["train"]) == 70
    assert len(speakers["valid"]) == len(speakers["test"]) == 20
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values()))
    held_out = [name.split(".")[0] for name in speakers["valid"] | speakers["test"]]
    assert len(set(held_out)) == 40  # one character of a variant at most


def test_utterances_are_seconds_long_equally_loud_and_begin_with_speech(corpus):
    for split in ("train", "valid", "test"):
        speech = corpus.utterances(split)
        assert len(set(speech.names)) == len(speech.names)
        assert min(speech.lengths) > 1.5 * 8000
        assert max(speech.lengths) < 9 * 8000
        for i, length in enumerate(speech.lengths):
            audio = speech.read(i, 0, length).astype(np.float64)
            assert audio.shape == (length,)
            assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.05, rel=0.01)
            assert np.abs(audio).max() == pytest.approx(speech.peaks[i], abs=1e-6)
            loud = np.abs(audio) > 0.003
            assert loud[: 8000 // 10].any(), speech.names[i]
            assert loud[-8000 // 10 :].any(), speech.names[i]


def test_texts_vary(corpus):
    texts = corpus.utterances("train").texts
    assert len(set(texts)) == len(texts)
    assert all(text[0].isupper() and text[-1] in ".?" and 8 <= len(text.split()) <= 20 for text in texts)


@pytest.mark.parametrize("n_src", [1, 2, 3, 20])
def test_a_mixture_is_the_sum_of_different_speakers(n_src):
    data = ToyCorpus(n_src=n_src, **SMALL)
    for split in ("train", "valid", "test"):
        whole = data.dataset(split)
        for i in range(len(whole)):
            mixture, sources, item = whole[i]
            assert item == i
            assert sources.shape == (n_src, *mixture.shape)
            assert mixture.dtype == sources.dtype == torch.float32
            torch.testing.assert_close(sources.double().sum(0), mixture.double(), rtol=0, atol=1e-6)
            assert mixture.abs().max() < 1
            speech, chosen = whole.speech, whole.mixtures[i].utterances
            assert len({speech.speakers[utterance] for utterance in chosen}) == n_src
            assert len(mixture) == min(speech.lengths[utterance] for utterance in chosen)


@pytest.mark.parametrize(("n_src", "most"), [(2, 1), (4, 1), (5, 2), (20, 20)])
def test_speakers_of_a_mixture_are_of_as_many_kinds_as_there_are(n_src, most):
    whole = ToyCorpus(n_src=n_src, **SMALL).dataset("train")
    kinds = [[kind(whole.speech.speakers[u]) for u in mixture.utterances] for mixture in whole.mixtures]
    assert all(max(Counter(one).values()) <= most for one in kinds)
    assert {one[0] for one in kinds} == {"female deep", "female high", "male deep", "male high"}, "in any order"


def test_alike_voices_can_be_asked_for():
    whole = ToyCorpus(distinct_voices=False, **{**SMALL, "n_train": 60}).dataset("train")
    kinds = [[kind(whole.speech.speakers[u]) for u in mixture.utterances] for mixture in whole.mixtures]
    assert 5 < sum(a == b for a, b in kinds) < 40
    assert whole.fingerprint != ToyCorpus(**{**SMALL, "n_train": 60}).dataset("train").fingerprint


def test_sources_are_the_utterances_within_the_level_range():
    whole = ToyCorpus(**SMALL).dataset("train")
    ratios = []
    for i in range(len(whole)):
        sources = whole[i][1].double().numpy()
        clean = [
            whole.speech.read(utterance, 0, sources.shape[1]).astype(np.float64)
            for utterance in whole.mixtures[i].utterances
        ]
        gains = [float(source @ one / (one @ one)) for source, one in zip(sources, clean, strict=True)]
        for gain, source, one in zip(gains, sources, clean, strict=True):
            np.testing.assert_allclose(source, gain * one, atol=1e-6)
        ratios.append(20 * np.log10(gains[0] / gains[1]))
    assert np.abs(ratios).max() <= 2 * LEVEL_DB + 1e-6
    assert min(ratios) < -1
    assert max(ratios) > 1


def test_a_crop_is_a_part_of_the_whole():
    data = ToyCorpus(**SMALL)
    crops, whole = data.dataset("valid", 1.5), data.dataset("valid")
    for i in range(len(crops)):
        mixture, sources, _ = crops[4, i]
        start = crop_start(0, 4, i, whole.lengths[i], 12_000)
        assert torch.equal(whole[i][1][:, start : start + 12_000], sources)
        assert torch.equal(whole[i][0][start : start + 12_000], mixture)


def test_the_runs_seed_moves_crops_and_the_corpus_seed_what_is_said():
    base = ToyCorpus(**SMALL)
    whole, same = (base.dataset("test", seed=seed) for seed in (0, 1))
    assert whole.fingerprint == same.fingerprint
    assert torch.equal(whole[0][1], same[0][1])
    cropped = [base.dataset("train", 1.5, seed)[0][0] for seed in (0, 1)]
    assert not torch.equal(*cropped)

    other = ToyCorpus(corpus_seed=1, **SMALL)
    assert other.dataset("test").fingerprint != base.dataset("test").fingerprint
    assert set(other.utterances("test").speakers) != set(base.utterances("test").speakers)


def test_more_mixtures_begin_with_the_same_ones():
    few, many = ToyCorpus(**SMALL), ToyCorpus(**{**SMALL, "n_train": 60})
    assert many.dataset("train").names[:40] == few.dataset("train").names


def test_two_workers_give_what_no_worker_gives():
    batches = []
    for num_workers in (0, 2):
        data = MixtureDataModule(ToyCorpus(**SMALL), 1.5, batch_size=4, num_workers=num_workers)
        data.prepare_data()
        data.setup("fit")
        loader = data.train_dataloader()
        seen = []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            seen += list(loader)
        batches.append(seen)
    assert len(batches[0]) == 20
    for one, two in zip(*batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_src": 21}, "n_src must be at most 20, .*, got 21"),
        ({"corpus_seed": -1}, "corpus_seed must be an integer of at least 0, got -1"),
        ({"n_train": 0}, "n_train must be an integer of at least 1, got 0"),
        ({"n_valid": "6"}, "n_valid must be an integer of at least 1, got '6'"),
        ({"n_utterances": 0}, "n_utterances must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ToyCorpus(**arguments)


def test_wrong_split(corpus):
    with pytest.raises(ValueError, match="split must be one of train, valid, test, got 'dev'"):
        corpus.utterances("dev")


def test_a_segment_longer_than_everything(corpus):
    with pytest.raises(StabError, match="no mixture is as long as segment_s=30"):
        corpus.dataset("train", 30.0)


def test_the_config_has_the_constructors_defaults():
    conf = Path(__file__).resolve().parents[3] / "conf" / "data" / "toy.yaml"
    config = yaml.safe_load(conf.read_text())
    defaults = {name: parameter.default for name, parameter in inspect.signature(ToyCorpus.__init__).parameters.items()}
    del defaults["self"]
    assert config.pop("_target_") == "asteroid_stab.data.ToyCorpus"
    assert config == defaults
