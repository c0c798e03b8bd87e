"""What microphones hear, against plain convolution in float64."""

import numpy as np
import pytest

from asteroid_stab.data.rooms.sound import heard, white_noise


@pytest.mark.parametrize(("before", "n_samples", "n_mics"), [(0, 500, 1), (37, 500, 3), (99, 20, 2)])
def test_it_is_convolution(before, n_samples, n_mics):
    random = np.random.default_rng(before)
    signals = random.standard_normal((3, before + n_samples)).astype(np.float32)
    responses = random.standard_normal((3, n_mics, 100)).astype(np.float32)
    targets = random.standard_normal((3, 30)).astype(np.float32)
    found = heard(signals, responses, targets, n_samples)

    def whole(signal, response):
        return np.convolve(signal.astype(np.float64), response)[before : before + n_samples]

    images = [whole(signal, own[0]) for signal, own in zip(signals, responses, strict=True)]
    np.testing.assert_allclose(found.images, images, atol=1e-4)
    early = [whole(signal, own) for signal, own in zip(signals, targets, strict=True)]
    np.testing.assert_allclose(found.targets, early, atol=1e-4)
    assert found.others.shape == (n_mics - 1, n_samples)
    for mic in range(1, n_mics):
        together = sum(whole(signal, own[mic]) for signal, own in zip(signals, responses, strict=True))
        np.testing.assert_allclose(found.others[mic - 1], together, atol=1e-4)
    assert {part.dtype for part in found} == {np.dtype(np.float32)}
    assert heard(signals, responses, None, n_samples).targets.tolist() == found.images.tolist()


def test_noise_is_white_for_each_microphone_of_its_own():
    noise = white_noise((1, 2), (0, 1, 2), 0, 100_000)
    np.testing.assert_allclose(np.cov(noise), np.eye(3), atol=0.02)
    np.testing.assert_allclose(np.cov(noise[0, 1:], noise[0, :-1]), np.eye(2), atol=0.02)
    assert not np.array_equal(noise, white_noise((1, 3), (0, 1, 2), 0, 100_000))


def test_a_part_of_the_noise_is_the_same_in_any_part():
    whole = white_noise((4,), (0, 1), 0, 50_000)
    for start, stop in ((0, 1), (16_383, 16_386), (20_000, 50_000)):
        assert np.array_equal(white_noise((4,), (1, 0), start, stop), whole[::-1, start:stop])
