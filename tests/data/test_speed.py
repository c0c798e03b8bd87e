"""Speed perturbation: each source as scipy resamples the whole of it, and the mixture remade."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from asteroid_stab.data import MixtureDataModule, RoomsCorpus, SmsWsjCorpus, WhamrCorpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.speed import SpeedPerturbed, percents
from asteroid_stab.errors import StabError

SPEEDS = [0.95, 1.0, 1.05]


class Noises(MixtureDataset):
    """Three sources and noise, of different lengths."""

    def __init__(self, lengths=(4000, 5000, 3000, 3100), segment_s=0.375, noisy=True):
        super().__init__([f"item {i}" for i in range(len(lengths))], lengths, 3, 8000, segment_s)
        self.noisy, self.reads = noisy, []

    def whole(self, row):
        random = np.random.default_rng(row)
        sources = random.standard_normal((3, 6000)).astype(np.float32)
        return sources.sum(0) + self.noisy * random.standard_normal(6000).astype(np.float32), sources

    def read(self, row, start, stop):
        self.reads.append((start, stop))
        mixture, sources = self.whole(row)
        return mixture[start:stop], sources[:, start:stop]


def played(signal, length, percent):
    return signal[:length] if percent == 100 else resample_poly(signal[:length], 100, percent)


@pytest.mark.parametrize("noisy", [False, True])
def test_sources_are_resampled_each_on_its_own_and_mixed_again(noisy):
    base = Noises(noisy=noisy)
    perturbed = SpeedPerturbed(base, SPEEDS, seed=3)
    drawn, starts = [], set()
    for epoch in range(12):
        for item in range(len(base)):
            mixture, sources, _ = (np.asarray(part) for part in perturbed[epoch, item])
            speeds, length = perturbed.speeds_of(epoch, item), base.lengths[item]
            whole_mixture, whole = base.whole(item)
            made = [played(source, length, speed) for source, speed in zip(whole, speeds, strict=True)]
            shortest = min(length, *map(len, made))
            match = [
                start
                for start in range(shortest - 3000 + 1)
                if np.allclose(sources[0], made[0][start : start + 3000], atol=1e-4)
            ]
            assert len(match) == 1
            start = match[0]
            starts.add(start)
            wanted = np.stack([one[start : start + 3000] for one in made])
            np.testing.assert_allclose(sources, wanted, atol=1e-5)
            noise = (whole_mixture - whole.sum(0))[start : start + 3000]
            np.testing.assert_allclose(mixture, wanted.sum(0) + noise, atol=1e-4)
            assert mixture.dtype == sources.dtype == np.float32
            drawn += speeds
            assert all(stop - begin < 3400 for begin, stop in base.reads)  # what the crop hears, and no more
            base.reads.clear()
    counts = {speed: drawn.count(speed) for speed in (95, 100, 105)}
    assert min(counts.values()) > 0.1 * len(drawn)  # the short items are not played faster
    assert len(starts) > 10


def test_an_item_that_would_be_too_short_is_not_played_faster():
    """The crop has 3000 samples: of 3000 none is left to lose, of 3100 5% are too many, of 4000 they are not."""
    perturbed = SpeedPerturbed(Noises(), SPEEDS)
    drawn = [{speed for epoch in range(40) for speed in perturbed.speeds_of(epoch, item)} for item in range(4)]
    assert drawn == [{95, 100, 105}, {95, 100, 105}, {95, 100}, {95, 100}]
    faster = SpeedPerturbed(Noises(), [1.1])
    assert [faster.speeds_of(0, item)[0] for item in range(4)] == [110, 110, 100, 100]


def test_speed_1_is_the_set_itself():
    base = Noises()
    for key in ((0, 0), (3, 1)):
        for a, b in zip(SpeedPerturbed(base, [1.0])[key], base[key], strict=True):
            assert np.array_equal(a, b)


def test_items_stay_the_same_items():
    base = Noises()
    perturbed = SpeedPerturbed(base, SPEEDS)
    assert (perturbed.names, perturbed.fingerprint, len(perturbed)) == (base.names, base.fingerprint, len(base))
    assert perturbed.stable_ids
    assert [key[1] for key in perturbed.sampler(2, 0)] == [key[1] for key in base.sampler(2, 0)]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_batches_do_not_depend_on_workers_or_ranks(tiny_data, n_workers):
    def items(rank=0, n_ranks=1, epoch=1, speeds=SPEEDS, workers=0):
        data = tiny_data(segment_s=0.1, batch_size=4 // n_ranks)
        data = MixtureDataModule(data.corpus, 0.1, 4 // n_ranks, workers, seed=5, speeds=speeds)
        data.setup("fit")
        data._place = lambda: (rank, n_ranks)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return {int(i): (m, s) for mixture, source, ids in loader for m, s, i in zip(mixture, source, ids, strict=True)}

    wanted = items()
    for found in (items(workers=n_workers), {**items(0, 2), **items(1, 2)}):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(x, y) for i in wanted for x, y in zip(found[i], wanted[i], strict=True))
    assert any(not torch.equal(items(epoch=2)[i][0], wanted[i][0]) for i in wanted)
    assert any(not torch.equal(items(speeds=[])[i][0], wanted[i][0]) for i in wanted)


def test_the_validation_is_played_as_it_is(tiny_data):
    corpus = tiny_data().corpus
    data = MixtureDataModule(corpus, speeds=SPEEDS, segment_s=0.1)
    data.setup("fit")
    assert isinstance(data.train_set, SpeedPerturbed)
    assert not isinstance(data.valid_set, SpeedPerturbed)


@pytest.mark.parametrize("speeds", [[0.4], [2.1], [0.955], [True], ["1"], [float("nan")]])
def test_speeds_out_of_range_are_refused(speeds):
    with pytest.raises(ValueError, match=r"speeds must be multiples of 0.01 from 0.5 to 2.0, got"):
        percents(speeds)


def test_speeds_must_differ(tiny_data):
    with pytest.raises(ValueError, match=r"speeds must differ, got 1.05 twice"):
        MixtureDataModule(tiny_data().corpus, speeds=[1.05, 1.05])


def test_padding_and_sets_that_crop_themselves_are_refused(tiny_data):
    with pytest.raises(ValueError, match="pad_short keeps mixtures that are shorter than speeds can make them"):
        MixtureDataModule(tiny_data().corpus, speeds=SPEEDS, pad_short=True)

    class Own(Noises):
        def audio(self, epoch, item):
            return self.read(item, 0, 3000)

    for base in (Own(), Noises(segment_s=None)):
        with pytest.raises(StabError, match=f"{type(base).__name__} makes its items itself, .* set loader.speeds="):
            SpeedPerturbed(base, SPEEDS)


def test_several_microphones_are_refused(tiny_corpus):
    data = MixtureDataModule(tiny_corpus(n_mics=2), 0.1, speeds=SPEEDS)
    with pytest.raises(StabError, match=r"each of 2 microphones is not known, .* set loader.speeds=\[\], or data.mics"):
        data.setup("fit")


def test_sources_without_their_reverberation_are_refused_before_rooms_are_simulated(tiny_corpus, tmp_path):
    def data(**more):
        corpus = RoomsCorpus(tiny_corpus(), "whamr", mics=[0], cache_dir=str(tmp_path / "rooms"), **more)
        return MixtureDataModule(corpus, 0.1, speeds=SPEEDS)

    for begin in (MixtureDataModule.prepare_data, MixtureDataModule.setup):
        for target in ("early", "anechoic"):
            with pytest.raises(
                StabError, match=rf"target={target} lack reverberation of .* set loader.speeds=\[\], or"
            ):
                begin(data(target=target), "fit")
    assert not (tmp_path / "rooms").exists()
    for more in ({"target": "image"}, {"target": "early", "reverberant": False}):
        data(**more)._check_speeds()
    for corpus in (
        WhamrCorpus("x", target="reverb"),
        WhamrCorpus("x", task="sep_noisy"),
        SmsWsjCorpus("x", target="image"),
    ):
        MixtureDataModule(corpus, speeds=SPEEDS)._check_speeds()
    for corpus in (WhamrCorpus("x"), SmsWsjCorpus("x")):
        with pytest.raises(StabError, match="lack reverberation of the mixture"):
            MixtureDataModule(corpus, speeds=SPEEDS).prepare_data("fit")
