"""Dynamic mixing: fresh, yet a function of seed, epoch and id."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asteroid_stab.data import Corpus, DynamicCorpus, MixtureDataModule, SpeechFolders, ToyCorpus
from asteroid_stab.data.corpora.dynamic import DynamicDataset
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import build
from asteroid_stab.run.compose import compose_recipe

RATE = 100


class Tones:
    """Six utterances of three speakers; utterance u is u + 1 + place / 1000 times ``loudness``."""

    names = ("a0", "a1", "b0", "b1", "c0", "c1")
    speakers = ("a", "a", "b", "b", "c", "c")
    lengths = (500, 400, 300, 500, 500, 50)

    def __init__(self, loudness=0.01, nan_in=None):
        self.loudness, self.nan_in = loudness, nan_in

    def read(self, utterance, start, stop):
        audio = self.loudness * (utterance + 1 + np.arange(start, stop) / 1000)
        if utterance == self.nan_in:
            audio[-1] = np.nan
        return audio.astype(np.float32)


class ToneCorpus(Corpus):
    def __init__(self, n_src=2):
        super().__init__(n_src, RATE)

    def utterances(self, split):
        return Tones()

    def dataset(self, split, segment_s=None, seed=0):
        return SimpleNamespace(split=split, segment_s=segment_s, seed=seed, n_short=0)


def drawn(n_src=2, level_db=0.0, n_items=200, segment_s=1.0, seed=0, **tones):
    return DynamicDataset(Tones(**tones), n_items, n_src, RATE, segment_s, level_db, seed)


def which(sources):
    """Utterances of a draw whose levels are untouched."""
    return [round(float(source[0]) / 0.01 - 0.5) - 1 for source in sources]


def test_its_fingerprint_is_that_of_what_is_drawn_from(monkeypatch):
    data = drawn()
    assert data.fingerprint == drawn(seed=1).fingerprint
    found = [data.fingerprint, drawn(level_db=1.0).fingerprint, drawn(n_items=199).fingerprint]
    monkeypatch.setattr(Tones, "names", ("a0", "a1", "b0", "b1", "c0", "d1"))
    assert len({*found, drawn().fingerprint}) == 4


def test_a_draw_is_different_speakers_and_their_sum():
    data, places = drawn(), set()
    counts = np.zeros(6, int)
    for i in range(len(data)):
        mixture, sources, item = data[i]
        assert item == i
        assert mixture.shape == (100,)
        assert torch.equal(sources.sum(0), mixture)
        utterances = which(sources)
        assert len({Tones.speakers[utterance] for utterance in utterances}) == 2
        for utterance, source in zip(utterances, sources, strict=True):
            counts[utterance] += 1
            start = round((float(source[0]) / 0.01 - utterance - 1) * 1000)
            expected = Tones().read(utterance, start, start + 100)
            np.testing.assert_allclose(source.numpy(), expected, rtol=1e-6)
            places.add(start)
    assert counts[5] == 0  # shorter than the segment
    assert min(counts[:5]) > 30
    assert min(places) < 20
    assert max(places) > 380


def test_a_draw_is_a_function_of_seed_epoch_and_id():
    data = drawn()
    for key in ((0, 3), (7, 3)):
        assert torch.equal(data[key][1], drawn()[key][1])
    different = [data[0, 3], data[1, 3], data[0, 4], drawn(seed=1)[0, 3]]
    assert len({tuple(sources[:, 0].tolist()) for _, sources, _ in different}) == 4
    assert torch.equal(data[3][0], data[0, 3][0])


def test_levels_are_within_the_range_and_all_of_it():
    levels = []
    for i in range(200):
        _, sources, _ = drawn(level_db=2.0)[i]
        for source in sources:  # the step between neighbours is 1/1000 of the utterance's own level
            gain = float(source[99] - source[0]) / (0.01 * 99 / 1000)
            levels.append(20 * np.log10(gain))
    assert -2.05 < min(levels) < -1.8
    assert 1.8 < max(levels) < 2.05


def test_peaks_stay_below_full_scale_with_one_factor_for_all_sources():
    for i in range(50):
        quiet, loud = drawn(level_db=2.0)[i], drawn(level_db=2.0, loudness=1.0)[i]
        assert quiet[0].abs().max() < 0.95
        assert float(loud[0].abs().max()) == pytest.approx(0.95)
        ratio = loud[1] / quiet[1]
        torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))


def test_ids_are_not_stable():
    assert drawn().stable_ids is False
    assert ToyCorpus(n_utterances=1).dataset("test", None).stable_ids is True


def test_a_part_of_a_row_is_that_of_epoch_0():
    data = drawn()
    mixture, sources = data.read(5, 10, 30)
    assert np.array_equal(mixture, data[5][0][10:30].numpy())
    assert np.array_equal(sources, data[5][1][:, 10:30].numpy())


def test_more_sources_than_speakers_who_speak_long_enough():
    assert len(drawn(n_src=3)[0][1]) == 3
    with pytest.raises(StabError, match=r"n_src must be at most 3, .* utterance of segment_s=4\.5, got 4"):
        drawn(n_src=4, segment_s=4.5)


def test_nan_in_the_audio_names_the_utterance():
    data = drawn(nan_in=3, segment_s=5.0, n_src=3)
    with pytest.raises(StabError, match="NaN or infinite samples in utterance 'b1'"):
        data[0]


def test_validation_and_test_sets_are_the_corpus_own():
    corpus = DynamicCorpus(ToneCorpus(3))
    valid = corpus.dataset("valid", 2.0, seed=7)
    assert (valid.split, valid.segment_s, valid.seed) == ("valid", 2.0, 7)
    assert corpus.dataset("test").split == "test"
    assert (corpus.n_src, corpus.sample_rate) == (3, RATE)
    with pytest.raises(StabError, match="no whole training mixtures"):
        corpus.dataset("train")


def test_preparing_prepares_the_corpus():
    base, done = ToneCorpus(), []
    base.prepare = done.append
    DynamicCorpus(base).prepare(["valid"])
    assert done == [["valid"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level_db": -1.0}, "level_db must be a number of dB from 0 on, got -1.0"),
        ({"level_db": float("inf")}, "level_db must be a number of dB from 0 on, got inf"),
        ({"n_train": 0}, "n_train must be an integer of at least 1, got 0"),
        ({"base": SpeechFolders()}, "base must be a corpus, with mixtures to validate with, got SpeechFolders"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DynamicCorpus(**{"base": ToneCorpus(), **arguments})


def test_over_toy_workers_and_ranks_change_nothing():
    def epoch(num_workers, rank, world_size, batch_size):
        corpus = DynamicCorpus(ToyCorpus(n_src=3, n_utterances=1), n_train=16)
        data = MixtureDataModule(corpus, 1.5, batch_size, num_workers)
        progress = SimpleNamespace(current=SimpleNamespace(processed=2))
        fit_loop = SimpleNamespace(epoch_progress=progress)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=fit_loop)
        data.setup("fit")
        return list(data.train_dataloader())

    alone = epoch(0, 0, 1, 8)
    assert [batch[1].shape for batch in alone] == [(8, 3, 12_000)] * 2
    ranks = [epoch(2, rank, 2, 4) for rank in (0, 1)]
    for step, (mixture, sources, ids) in enumerate(alone):
        parts = [torch.cat(both) for both in zip(ranks[0][step], ranks[1][step], strict=True)]
        assert torch.equal(parts[0], mixture)
        assert torch.equal(parts[1], sources)
        assert torch.equal(parts[2], ids)


def test_pickles_small():
    data = DynamicCorpus(ToyCorpus(n_utterances=1), n_train=16).dataset("train", 1.5)
    expected = data[1, 2][0]
    pickled = pickle.dumps(data)
    assert len(pickled) < 100_000
    assert torch.equal(pickle.loads(pickled)[1, 2][0], expected)


def test_sources_and_rate_of_a_model_are_the_bases():
    config = compose_recipe("baseline/toy", ["data=dynamic", "data.base.n_src=3", "data.base.sample_rate=16000"])
    assert (config.model.n_src, config.model.sample_rate) == (3, 16_000)
    corpus = build(config.data)
    assert isinstance(corpus.base, ToyCorpus)
    assert (corpus.n_src, corpus.sample_rate) == (3, 16_000)
