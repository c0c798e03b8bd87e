"""Mixtures in rooms: their sum, their targets, and that each is a function of seed, epoch and name."""

import numpy as np
import pytest
import torch

from asteroid_stab.data import MixtureDataModule, RoomsCorpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.rooms.bank import RoomBank, RoomPlan
from asteroid_stab.data.rooms.mixtures import DrawnRoomMixtures, Hearing, RoomMixtures
from asteroid_stab.errors import StabError

RATE = 8000
PLAN = RoomPlan("whamr", 4, 3, 3, 0.2, 0.25, RATE, (0,))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return RoomBank.open_or_make(PLAN, tmp_path_factory.mktemp("rooms"))


class Noises(MixtureDataset):
    """Two sources, and noise."""

    def __init__(self, segment_s=None, noise=0.0, n_mics=1, lengths=(30_000, 25_000, 28_000), seed=0):
        super().__init__([f"item {i}" for i in range(len(lengths))], lengths, 2, RATE, segment_s, seed)
        self.noise, self.n_mics = noise, n_mics

    def whole(self, row):
        sources = 0.1 * np.random.default_rng(row).standard_normal((3, 30_000)).astype(np.float32)
        return sources[:2].sum(0) + np.float32(self.noise) * sources[2], sources[:2]

    def read(self, row, start, stop):
        mixture, sources = self.whole(row)
        return mixture[start:stop], sources[:, start:stop]


class Crops(Noises):
    """The same, in crops of its own."""

    def audio(self, epoch, item):
        return self.read(item, 1000 * epoch, 1000 * epoch + 4000)


def hearing(*mics, **more):
    return Hearing(mics or (0, 1, 2), **more)


def places_of(bank, sources, images, reference):
    """Room and position that each image was heard from, found by trying all of them, in float64."""
    found = []
    for source, image in zip(sources, np.asarray(images, np.float64), strict=True):
        for room in range(PLAN.n_rooms):
            for position in range(PLAN.n_positions):
                own = bank.read(room, position)
                response = own.whole[reference].astype(np.float64) * own.distances[reference]
                if np.allclose(np.convolve(source[:3000], response)[:3000], image[:3000], atol=1e-5):
                    found.append((room, position))
    return found


def drawn(bank, data, item, epoch=0):
    """Room and position of each source of an item."""
    images = data.parts(item, 0, 3000, epoch).images
    return places_of(bank, data.base.whole(item)[1], images, data.hearing.mics[0])


def test_each_source_is_heard_from_a_position_of_its_own_in_one_room(bank):
    data = RoomMixtures(Noises(), bank, hearing(1, 0))
    places = [drawn(bank, data, item) for item in range(3)]
    for (room, one), (same_room, other) in places:
        assert room == same_room
        assert one != other
    assert len({*map(tuple, places)}) > 1


@pytest.mark.parametrize("target", ["early", "image", "anechoic"])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_images_and_noise_sum_to_the_mixture_exactly(bank, target, noise):
    data = RoomMixtures(Noises(noise=noise), bank, hearing(target=target, snr_db=(10.0, 20.0)))
    for start, stop in ((0, 25_000), (7000, 15_000)):
        parts, (mixture, sources) = data.parts(1, start, stop), data.read(1, start, stop)
        assert mixture.shape == (3, stop - start)
        assert np.array_equal(parts.images.sum(0) + parts.noise, mixture[0])
        assert np.array_equal(sources, parts.images) == (target == "image")
        assert mixture.dtype == sources.dtype == np.float32
        loudness = [np.linalg.norm(part) for part in (sources, parts.images)]
        assert loudness[0] <= loudness[1]


def test_targets_are_parts_of_the_response(bank):
    data = RoomMixtures(Noises(), bank, hearing(2, 0))
    places = drawn(bank, data, 0)
    _, sources = data.base.whole(0)
    for target in ("early", "anechoic"):
        found = RoomMixtures(Noises(), bank, hearing(2, 0, target=target)).read(0, 0, 3000)[1]
        for (room, position), source, got in zip(places, sources, found, strict=True):
            own = bank.read(room, position)
            response = (own.direct if target == "anechoic" else own.whole)[2] * own.distances[2]
            if target == "early":  # 50 ms after the direct sound
                response = response[: round(40 + own.distances[2] / 343 * RATE + 0.05 * RATE)]
            np.testing.assert_allclose(got, np.convolve(source[:3000], response)[:3000], atol=1e-5)


def test_a_room_without_reflections_delays_and_no_more(bank):
    data = RoomMixtures(Noises(), bank, hearing(reverberant=False))
    mixture, sources = data.read(0, 0, 30_000)
    dry = data.base.whole(0)[1]
    for source, heard in zip(dry, sources, strict=True):
        assert np.linalg.norm(heard) == pytest.approx(np.linalg.norm(source), rel=0.05)  # as loud as it is
        lag = np.correlate(heard[:3000], source[:3000], "full").argmax() - 2999
        assert 40 + 0.5 / 343 * RATE < lag < 40 + 2.4 / 343 * RATE
    assert np.array_equal(mixture[0], sources.sum(0))
    image = RoomMixtures(Noises(), bank, hearing(target="anechoic")).read(0, 0, 30_000)[1]
    np.testing.assert_allclose(image, sources, atol=1e-5)


def test_a_crop_is_a_part_of_the_whole(bank):
    """Sound from before the crop is heard in it, and the noise is the same."""
    data = RoomMixtures(Noises(0.5, noise=0.3), bank, hearing(snr_db=(5.0, 5.0)))
    whole = data.read(2, 0, 28_000)
    for epoch in range(3):
        mixture, sources, _ = (np.asarray(part) for part in data[epoch, 2])
        start = np.abs(whole[1][0] - sources[0, 0]).argsort()[:20]
        (first,) = [s for s in start if s <= 24_000 and np.allclose(whole[1][:, s : s + 4000], sources, atol=1e-5)]
        np.testing.assert_allclose(whole[0][:, first : first + 4000], mixture, atol=1e-5)
    for start in (0, 1, 1999, 20_000):
        np.testing.assert_allclose(data.read(2, start, 21_000)[0], whole[0][:, start:21_000], atol=1e-5)


def test_one_microphone_hears_what_it_hears_among_several(bank):
    for more in ({}, {"snr_db": (0.0, 10.0)}):
        several = RoomMixtures(Noises(), bank, hearing(2, 0, 1, **more)).read(0, 500, 6000)
        for mic, row in ((0, 1), (1, 2)):
            alone, _ = RoomMixtures(Noises(), bank, hearing(2, mic, **more)).read(0, 500, 6000)
            np.testing.assert_allclose(alone[1], several[0][row], atol=1e-5)
        alone = RoomMixtures(Noises(), bank, hearing(2, **more))
        mixture, sources = alone.read(0, 500, 6000)
        assert alone.n_mics == 1
        assert np.array_equal(mixture, several[0][0])
        assert np.array_equal(sources, several[1])
        assert alone.fingerprint == RoomMixtures(Noises(), bank, hearing(2, 0, 1, **more)).fingerprint


def test_the_noise_has_its_level_below_the_direct_sound(bank):
    for low, high in ((10.0, 10.0), (-5.0, 15.0)):
        data = RoomMixtures(Noises(), bank, hearing(snr_db=(low, high)))
        clean = RoomMixtures(Noises(), bank, hearing())
        found = []
        for item in range(3):
            n = data.lengths[item]
            noise = data.read(item, 0, n)[0] - clean.read(item, 0, n)[0]
            speech = np.mean(np.square(data.base.whole(item)[1][:, :n]), 1).sum()
            snr = 10 * np.log10(speech / np.mean(np.square(noise), 1))
            assert np.ptp(snr) < 0.2
            found.append(snr.mean())
        assert low - 0.1 < min(found) <= max(found) < high + 0.1
        assert (np.ptp(found) > 0.5) == (low < high)
    correlation = np.corrcoef(noise)
    assert np.abs(correlation - np.eye(3)).max() < 0.05


def test_noise_of_the_set_is_heard_from_a_third_position(bank):
    noisy, clean = (RoomMixtures(Noises(noise=noise), bank, hearing(target="image")) for noise in (0.5, 0.0))
    (mixture, sources), (without, same) = noisy.read(0, 0, 9000), clean.read(0, 0, 9000)
    np.testing.assert_allclose(sources, same, atol=1e-6)
    random = 0.05 * np.random.default_rng(0).standard_normal((3, 30_000)).astype(np.float32)[2]
    room, taken = drawn(bank, clean, 0)[0][0], [position for _, position in drawn(bank, clean, 0)]
    (third,) = {0, 1, 2} - {*taken}
    own = bank.read(room, third)
    for mic in range(3):
        heard = np.convolve(random[:9000], own.whole[mic] * own.distances[0])[:9000]
        np.testing.assert_allclose(mixture[mic] - without[mic], heard, atol=1e-5)


def test_noise_needs_a_position(bank, tmp_path):
    few = RoomBank.open_or_make(PLAN._replace(n_positions=2, n_rooms=1), tmp_path)
    RoomMixtures(Noises(), few, hearing()).check_positions()
    with pytest.raises(StabError, match=r"noise, which is heard from .*: n_positions must be at least 3, got 2"):
        RoomMixtures(Noises(noise=0.5), few, hearing()).check_positions()


def test_a_set_of_several_microphones_is_refused(bank):
    with pytest.raises(StabError, match=r"base must have mixtures of one microphone, got 2: set base.mics=\[0\]"):
        RoomMixtures(Noises(n_mics=2), bank, hearing())


def test_another_room_in_every_epoch(bank):
    base = Noises(0.5)
    fresh, fixed = DrawnRoomMixtures(base, bank, hearing(), fresh=True), RoomMixtures(base, bank, hearing())
    places = [tuple(drawn(bank, fresh, 0, epoch)) for epoch in range(6)]
    assert len({*places}) > 2
    for epoch in range(2):
        one, again = (fresh[epoch, 0] for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(one[:2], again[:2], strict=True))
    for epoch in range(3):  # in epoch 0 both are in the same room, as both have one seed
        (mixture, _, _), (other, _, _) = fresh[epoch, 0], fixed[epoch, 0]
        assert mixture.shape == (3, 4000)
        assert torch.equal(mixture, other) == (places[epoch] == places[0] and epoch == 0)
    assert fresh.fingerprint != fixed.fingerprint


def test_a_set_with_crops_of_its_own(bank):
    """Crops start in a silent room, which is the same in every epoch, or another one; the noise is always another."""
    for fresh in (False, True):
        data = DrawnRoomMixtures(Crops(), bank, hearing(target="image", snr_db=(10.0, 10.0)), fresh)
        places, noises = [], []
        for epoch in range(4):
            mixture, sources, _ = (np.asarray(part) for part in data[epoch, 1])
            assert mixture.shape == (3, 4000)
            assert np.array_equal(data[epoch, 1][0], mixture)
            dry = data.base.audio(epoch, 1)[1]
            places.append(tuple(places_of(bank, dry, sources, 0)))
            noises.append(mixture[0] - sources.sum(0))
            level = np.square(noises[-1]).mean() / np.square(dry).mean(1).sum()
            assert 10 * np.log10(level) == pytest.approx(-10, abs=0.3)
        assert (len({*places}) > 1) == fresh
        assert all(len(place) == 2 for place in places)
        assert np.abs(np.corrcoef(noises) - np.eye(4)).max() < 0.1


def test_a_mixture_that_is_not_finite_is_named(bank):
    """In rooms the sources are summed again, so that nothing was left of it."""

    class Broken(Noises):
        def read(self, row, start, stop):
            mixture, sources = super().read(row, start, stop)
            return np.where(np.arange(start, stop) == 9000, np.float32("nan"), mixture), sources

    data = RoomMixtures(Broken(), bank, hearing())
    with pytest.raises(StabError, match="audio must be finite, got NaN or infinite samples in item 'item 1'"):
        data[1]


def test_fresh_rooms_of_another_seed_are_of_the_same_items(bank):
    one, other = (DrawnRoomMixtures(Noises(), bank, hearing(seed=seed), fresh=True) for seed in (0, 1))
    assert one.fingerprint == other.fingerprint
    one, other = (DrawnRoomMixtures(Crops(), bank, hearing(seed=seed), fresh=False) for seed in (0, 1))
    assert one.fingerprint != other.fingerprint


def test_its_fingerprint_is_of_all_that_changes_a_mixture(bank):
    first = RoomMixtures(Noises(), bank, hearing())
    others = [
        RoomMixtures(Noises(lengths=(30_000, 25_000)), bank, hearing()),
        RoomMixtures(Noises(), RoomBank(bank._floats.path, PLAN._replace(seed=(1,))), hearing()),
        *(
            RoomMixtures(Noises(), bank, hearing(**more))
            for more in ({"target": "image"}, {"reverberant": False}, {"snr_db": (1.0, 2.0)}, {"seed": 1})
        ),
        RoomMixtures(Noises(), bank, hearing(1, 0, 2)),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 8
    assert first.fingerprint == RoomMixtures(Noises(seed=5), bank, hearing()).fingerprint


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_items_do_not_depend_on_workers_or_ranks(tiny_corpus, tmp_path, fresh):
    def items(rank=0, n_ranks=1, epoch=1, workers=0):
        corpus = RoomsCorpus(
            tiny_corpus(), "whamr", 2, 2, 0.1, 0.2, 3, 1, 1, fresh=fresh, low_snr_db=10, high_snr_db=20,
            cache_dir=str(tmp_path),
        )  # fmt: skip
        data = MixtureDataModule(corpus, 0.1, 4 // n_ranks, workers, seed=5)
        data.setup("fit")
        data._place = lambda: (rank, n_ranks)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return {int(i): (m, s) for mixture, source, ids in loader for m, s, i in zip(mixture, source, ids, strict=True)}

    wanted = items()
    for found in (items(workers=1), items(workers=2), {**items(0, 2), **items(1, 2)}):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(x, y) for i in wanted for x, y in zip(found[i], wanted[i], strict=True))
    assert any(not torch.equal(items(epoch=2)[i][0], wanted[i][0]) for i in wanted)
