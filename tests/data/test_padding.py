"""Padded mixtures: the same crops, the short ones whole, and their lengths in each batch."""

import numpy as np
import pytest
import torch

from asteroid_stab.data import Corpus, DynamicCorpus, MixtureDataModule, MixtureDataset, MultiTaskCorpus, ToyCorpus
from asteroid_stab.data.padding import Batch, PaddedMixtures
from asteroid_stab.errors import StabError

LENGTHS = [120, 50, 300, 80, 79]  # of which three are shorter than a crop of 100 samples


class Ramps(MixtureDataset):
    """Mixtures whose samples count up, so that a crop shows its place."""

    def read(self, row, start, stop):
        ramp = np.arange(start, stop, dtype=np.float32) + 1000 * row + 1
        return 2 * ramp, np.stack([ramp, ramp])


class RampCorpus(Corpus):
    def __init__(self, lengths=tuple(LENGTHS)):
        super().__init__(2, 1000)
        self.lengths_of_all = list(lengths)

    def dataset(self, split, segment_s=None, seed=0):
        names = [f"ramp {i}" for i in range(len(self.lengths_of_all))]
        return Ramps(names, self.lengths_of_all, 2, 1000, segment_s, seed)


def test_short_items_are_whole_and_followed_by_zeros():
    padded = RampCorpus().padded_dataset("train", 0.1, seed=3)
    assert (len(padded), padded.n_padded, padded.n_short) == (5, 3, 0)
    for item, length in enumerate(LENGTHS):
        mixture, sources, of, n = padded[7, item]
        true = min(length, 100)
        assert (of, n, mixture.shape, sources.shape) == (item, true, (100,), (2, 100))
        assert torch.equal(mixture[:true], 2 * sources[0, :true])
        assert (mixture[:true] >= 1000 * item).all()
        assert not mixture[true:].any()
        assert not sources[:, true:].any()
        if length < 100:
            assert sources[0, 0] == 1000 * item + 1  # from its beginning


def test_without_short_items_it_is_the_plain_set():
    """The same ids, fingerprint, order and crops, in every epoch."""
    corpus = RampCorpus([120, 150, 300, 100])
    plain, padded = corpus.dataset("train", 0.1, 3), corpus.padded_dataset("train", 0.1, 3)
    assert plain.fingerprint == padded.fingerprint
    assert list(plain.sampler(2, 5)) == list(padded.sampler(2, 5))
    for epoch in range(3):
        for item in range(4):
            for a, b in zip(plain[epoch, item][:2], padded[epoch, item][:2], strict=True):
                assert torch.equal(a, b)
            assert padded[epoch, item][3] == 100


@pytest.mark.parametrize("num_workers", [0, 2])
def test_lengths_travel_in_the_batch_as_plain_integers(num_workers):
    data = MixtureDataModule(RampCorpus(), 0.1, 5, num_workers, pad_short=True)
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        (made,) = loader
        mixture, sources, ids, lengths = Batch(*made)
        assert (mixture.shape, sources.shape) == ((5, 100), (5, 2, 100))
        assert lengths == [min(LENGTHS[item], 100) for item in ids.tolist()]
        assert all(type(length) is int for length in lengths)


def test_short_items_are_left_out_unless_they_are_padded(caplog):
    data = MixtureDataModule(RampCorpus(), 0.1, 2)
    data.setup("fit")
    assert len(data.train_set) == 2
    assert len(next(iter(data.train_dataloader()))) == 3
    data = MixtureDataModule(RampCorpus(), 0.1, 2, pad_short=True)
    with caplog.at_level("INFO"):
        data.setup("fit")
    assert "train: padded 3 of 5 mixtures shorter than segment_s=0.1" in caplog.text


def test_a_set_of_short_mixtures_only_can_be_padded():
    assert len(RampCorpus([30, 40]).padded_dataset("train", 0.1)) == 2


def test_two_ranks_see_the_items_of_one():
    padded = RampCorpus().padded_dataset("train", 0.1)
    one = list(padded.sampler(4, 0))
    two = [list(padded.sampler(2, 0, rank, 2)) for rank in (0, 1)]
    assert sorted(one) == sorted(two[0] + two[1])


class OwnCrops(Ramps):
    def audio(self, epoch, item):
        return self.read(item, 0, 5)


def test_sets_that_make_their_own_crops_are_refused():
    with pytest.raises(StabError, match="OwnCrops makes the crops itself .* set loader.pad_short=false"):
        PaddedMixtures(OwnCrops(["a"], [50], 2, 1000), 0.1)


def test_dynamic_mixing_and_multitask_refuse():
    with pytest.raises(StabError, match="dynamic mixing draws no utterance shorter .* loader.pad_short=false"):
        DynamicCorpus(ToyCorpus()).padded_dataset("train", 1.0)
    with pytest.raises(StabError, match="data=multitask cannot pad .* loader.pad_short=false"):
        MultiTaskCorpus(ToyCorpus(), ToyCorpus(n_src=1)).padded_dataset("train", 1.0)


def test_several_microphones_are_padded_alike(tiny_corpus):
    corpus = tiny_corpus(n_train=2, n_mics=3)
    padded = corpus.padded_dataset("train", 0.2)
    whole = corpus.dataset("train")
    mixture, _, _, length = padded[1]
    assert (padded.n_mics, length, mixture.shape) == (3, 1200, (3, 1600))
    assert torch.equal(mixture[:, :1200], whole[1][0])
    assert not mixture[:, 1200:].any()
