"""Stable ids and crops."""

import numpy as np
import pytest
import torch

from asteroid_stab.data.dataset import MixtureDataset, crop_start
from asteroid_stab.errors import StabError


class Ramps(MixtureDataset):
    """Row r holds r·10^6 + 0, 1, 2, ... in source 0, and ten times that in source 1."""

    def __init__(self, names=("a", "b", "c", "d"), lengths=(50, 8, 40, 20), segment_s=2.0, seed=0, nan_in=None):
        super().__init__(names, lengths, 2, 10, segment_s, seed)
        self.nan_in = nan_in

    def read(self, row, start, stop):
        ramp = row * 1_000_000 + np.arange(start, stop, dtype=np.float64)
        sources = np.stack([ramp, 10 * ramp]).astype(np.float32)
        if row == self.nan_in:
            sources[1, 0] = np.nan
        return sources.sum(0), sources


def test_crop_start_covers_every_start_equally_and_no_other():
    starts = [crop_start(seed, epoch, item, 13, 10) for seed in range(10) for epoch in range(10) for item in range(40)]
    assert sorted(set(starts)) == [0, 1, 2, 3]
    assert np.bincount(starts) == pytest.approx([1000] * 4, rel=0.1)


@pytest.mark.parametrize("other", [(1, 3, 5), (0, 4, 5), (0, 3, 6)])
def test_crop_start_depends_on_seed_epoch_and_item(other):
    assert crop_start(0, 3, 5, 10**9, 1) != crop_start(*other, 10**9, 1)


def test_crop_start_refuses_a_segment_longer_than_the_item():
    with pytest.raises(ValueError, match="segment must be at most the item's length of 7 samples, got 8"):
        crop_start(0, 0, 0, 7, 8)


def test_short_items_are_left_out_and_ids_count_the_rest():
    ramps = Ramps()
    assert (ramps.n_short, len(ramps), ramps.names, list(ramps.rows)) == (1, 3, ["a", "c", "d"], [0, 2, 3])
    mixture, sources, item = ramps[1]
    assert item == 1
    assert mixture.shape == (20,)
    assert sources.shape == (2, 20)
    assert sources[0, 0] // 1_000_000 == 2  # the corpus' row 2, not row 1


def test_an_item_as_long_as_the_segment_is_kept_whole():
    assert torch.equal(Ramps()[2][1][0], 3_000_000 + torch.arange(20.0))


def test_a_bare_id_means_epoch_0_and_epochs_cut_elsewhere():
    ramps = Ramps(lengths=(5000,) * 4)
    assert torch.equal(ramps[2][0], ramps[0, 2][0])
    starts = {float(ramps[epoch, 2][1][0, 0]) for epoch in range(5)}
    assert len(starts) == 5


def test_without_a_segment_mixtures_are_whole_and_none_is_short():
    ramps = Ramps(segment_s=None)
    assert ramps.n_short == 0
    assert [ramps[i][0].shape[0] for i in range(4)] == [50, 8, 40, 20]


def test_out_of_range_ends_an_iteration():
    with pytest.raises(IndexError):
        Ramps()[3]


def test_two_items_of_one_name_are_refused():
    with pytest.raises(StabError, match="item names must be unique, got 'b' twice"):
        Ramps(names=("a", "b", "c", "b"))


def test_a_name_and_a_length_each():
    with pytest.raises(ValueError, match="a name and a length each, got 3 names, 2 lengths"):
        Ramps(names=("a", "b", "c"), lengths=(50, 50))


def test_lengths_are_pythons_integers():
    """NumPy's would overflow where a crop is drawn."""
    for longest in (50, 2**40):
        ramps = Ramps(lengths=(50, 8, longest, 20))
        assert [type(number) for number in (*ramps.lengths, *ramps.rows)] == [int] * 6
        assert ramps.lengths[1] == longest


def test_no_item_as_long_as_the_segment():
    with pytest.raises(StabError, match=r"segment_s=6.0 \(4 mixtures, the longest 5.00 s\)"):
        Ramps(segment_s=6.0)


def test_nan_in_the_audio_names_the_item():
    ramps = Ramps(nan_in=2)
    ramps[0]
    with pytest.raises(StabError, match="NaN or infinite samples in item 'c'"):
        ramps[1]


def test_fingerprint_changes_with_what_ids_stand_for_only():
    same = Ramps().fingerprint
    assert Ramps(seed=7).fingerprint == same
    assert Ramps(names=("a", "c", "b", "d")).fingerprint != same
    assert Ramps(segment_s=1.0).fingerprint == same  # "b" is short of both
    assert Ramps(segment_s=0.5).fingerprint != same  # now "b" has an id


@pytest.mark.parametrize(("n_mics", "wanted"), [(1, r"\[T\]"), (3, r"\[3, T\]")])
def test_a_mixture_of_other_microphones_than_its_set_says_is_refused(tiny_corpus, n_mics, wanted):
    data = tiny_corpus(n_mics=2).dataset("train", 0.1)
    assert data[0][0].shape == (2, 800)
    data.n_mics, data.read = n_mics, lambda row, start, stop: (np.zeros((2, stop - start)), np.zeros((2, stop - start)))
    with pytest.raises(
        StabError, match=rf"a mixture must be {wanted}, as n_mics={n_mics} .*got \[2, 800\] in item 'tiny-0'"
    ):
        data[0]
