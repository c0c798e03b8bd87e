"""Mixtures in batches have the estimates that they have alone, and a fault is of its own mixture."""

from itertools import pairwise
from typing import ClassVar

import numpy as np
import own_nets
import pytest
import torch

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.metrics.names import FigureInfo
from asteroid_stab.metrics.separated import given, separate_whole, separated
from asteroid_stab.models import hosted

LENGTHS = [900, 1200, 900, 1050, 1200, 900, 900]


class Noise(MixtureDataset):
    """Two sources of noise; ``lost`` mixtures cannot be read."""

    def __init__(self, lost=()):
        super().__init__([f"mix-{i}" for i in range(len(LENGTHS))], LENGTHS, 2, 8000)
        self.lost = lost

    def read(self, row, start, stop):
        if row in self.lost:
            raise StabError(f"{self.names[row]} is lost")
        sources = np.random.default_rng(row).standard_normal((2, LENGTHS[row])).astype(np.float32)
        return sources.sum(0), sources


class Counted(torch.nn.Module):
    """A model that notes its batches, counts passes, and fails where a batch holds more than ``most`` mixtures."""

    figures: ClassVar = {"n_passes": FigureInfo("passes", digits=0, most=9, is_cost=True)}

    def __init__(self, net, most=9, refused=None):
        super().__init__()
        self.net, self.most, self.refused, self.shapes = net, most, refused, []

    def forward_with_figures(self, mixture):
        self.shapes.append(tuple(mixture.shape))
        if len(mixture) > self.most or (self.refused is not None and (mixture == self.refused).all(-1).any()):
            raise RuntimeError("out of memory")
        return self.net(mixture), {"n_passes": mixture[:, 0].abs().ceil()}


@pytest.fixture
def net(tiny_model):
    return tiny_model(2).eval()


def test_estimates_are_those_of_each_mixture_alone(net):
    """To 1e-4 dB, at lengths that are not padded; the norms of this model see all of a signal."""
    data, model = Noise(), Counted(net)
    alone = {found.item: found for found in separated(model, data, range(7))}
    assert [*alone] == [*range(7)]
    assert model.shapes == [(1, n) for n in LENGTHS]
    model.shapes.clear()
    together = {found.item: found for found in separated(model, data, range(7), batch_size=3)}
    assert model.shapes == [(2, 1200), (1, 1050), (3, 900), (1, 900)]
    assert sorted(together) == [*range(7)]
    for item in range(7):
        one, other = alone[item], together[item]
        assert one.figures == other.figures
        assert torch.equal(one.mixture, other.mixture)
        assert torch.equal(one.sources, other.sources)
        assert torch.equal(one.estimates, separate_whole(net, one.mixture))
        sdr = [matched_neg_sdr(found.estimates[None], found.sources[None]) for found in (one, other)]
        torch.testing.assert_close(*sdr, atol=1e-4, rtol=0)


def test_a_mixture_that_cannot_be_read_takes_no_other_with_it(net):
    found = {one.item: one.fault for one in separated(net, Noise(lost=[2]), range(7), batch_size=4)}
    assert found == {item: "mix-2 is lost" if item == 2 else "" for item in range(7)}


def test_a_batch_that_fails_goes_through_one_by_one(net):
    data = Noise()
    model = Counted(net, most=2, refused=data[0][0])
    found = {one.item: one.fault for one in separated(model, data, [0, 2, 5, 6], batch_size=4)}
    assert found.pop(0) == "RuntimeError: out of memory"
    assert found == {2: "", 5: "", 6: ""}
    assert model.shapes == [(4, 900), (1, 900), (1, 900), (1, 900), (1, 900)]


def test_another_number_of_sources_ends_it(tiny_model):
    with pytest.raises(StabError, match=r"the model must give \[2, 900\].*got \[3, 900\]"):
        list(separated(tiny_model(3).eval(), Noise(), [0, 2], batch_size=2))


def test_longest_come_first(net):
    lengths = [len(found.mixture) for found in separated(net, Noise(), range(7), batch_size=2)]
    assert all(one >= other for one, other in pairwise(lengths))


def test_several_microphones_come_back_as_the_reference(tiny_corpus):
    data = tiny_corpus(n_mics=3).dataset("valid")
    net = hosted(own_nets.AllMics, n_src=2, sample_rate=8000, inputs="channel_time", n_mics=3).eval()
    found = list(separated(net, data, range(4), batch_size=2))
    assert [one.fault for one in found] == [""] * 4
    for one in found:
        mixture, sources, _ = data[one.item]
        assert torch.equal(one.mixture, mixture[0])
        assert torch.equal(one.sources, sources)
        torch.testing.assert_close(one.estimates, separate_whole(net, mixture))
    (known,) = given(data, lambda item, mixture, sources: torch.stack([mixture[0], mixture[0]]), [2])
    assert torch.equal(known.mixture, data[2][0][0])
    assert torch.equal(known.estimates[1], known.mixture)
