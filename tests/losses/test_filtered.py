"""The batched SDR of BSS Eval against the one that evaluates runs, and its edges."""

import numpy as np
import pytest
import torch

from asteroid_stab.data.toy.corpus import ToyCorpus
from asteroid_stab.losses.filtered import filtered_sdr
from asteroid_stab.metrics.bss_eval import bss_eval


def signals(n_src, n_samples=6000, n_items=2):
    random = torch.Generator().manual_seed(n_src)
    sources = torch.randn(n_items, n_src, n_samples, generator=random)
    # Coloured, with an echo: a filter of the source is no distortion.
    sources = sources + 0.9 * sources.roll(1, -1) + 0.8 * sources.roll(2, -1)
    est = sources.roll(3, -1) + 0.3 * sources.flip(1) + 0.05 * torch.randn(sources.shape, generator=random)
    return est, sources


@pytest.mark.parametrize("n_src", [1, 2, 3])
def test_it_is_the_sdr_of_the_evaluation(n_src):
    est, sources = signals(n_src)
    got = filtered_sdr(est, sources)
    for b in range(len(est)):
        wanted, _ = bss_eval(sources[b].numpy(), est[b].numpy(), sources[b].sum(0).numpy())
        np.testing.assert_allclose(got[b].numpy(), wanted.sdr, atol=0.01)


def test_it_is_the_sdr_of_the_evaluation_on_speech():
    """Speech spans little at 8 kHz: its correlations are nearly singular."""
    mixture, sources, _ = ToyCorpus(n_train=2, n_valid=1, n_test=1).dataset("train", 2.0)[0]
    est = sources + 0.1 * mixture + 1e-3 * sources.roll(700, -1)
    wanted, given = bss_eval(sources.numpy(), est.numpy(), mixture.numpy())
    np.testing.assert_allclose(filtered_sdr(est[None], sources[None])[0].numpy(), wanted.sdr, atol=0.01)
    of_mixture = filtered_sdr(mixture.expand_as(sources)[None], sources[None])[0]
    np.testing.assert_allclose(of_mixture.numpy(), given.sdr, atol=0.01)


def test_the_assignment_is_the_sources():
    est, sources = signals(3)
    perm = torch.tensor([[1, 2, 0], [2, 0, 1]])
    mixed = torch.empty_like(est)
    for b in range(2):
        mixed[b, perm[b]] = est[b]
    torch.testing.assert_close(filtered_sdr(mixed, sources, perm), filtered_sdr(est, sources))


def test_undefined_entries_are_marked_and_leave_the_others_alone():
    est, sources = signals(2, n_items=3)
    wanted = filtered_sdr(est, sources)
    sources[0, 1], est[1, 0, 7], est[2, 1] = 0.0, torch.nan, 0.0
    got = filtered_sdr(est, sources)
    assert torch.isnan(got[0, 1])
    assert torch.isposinf(got[1]).all()
    assert got[2, 1] == -100
    torch.testing.assert_close(got[[0, 2], [0, 0]], wanted[[0, 2], [0, 0]])


def test_a_pure_tone_has_a_ratio():
    """Its delays span two dimensions."""
    tone = torch.sin(torch.arange(4000) * 0.3)[None, None]
    noise = torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert 14 < filtered_sdr(tone + noise, tone).item() < 20


def test_signals_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape \[B, J, T\], got \[1, 2, 9\] and \[1, 2, 8\]"):
        filtered_sdr(torch.zeros(1, 2, 9), torch.zeros(1, 2, 8))


def test_half_precision_is_widened():
    est, sources = (x.bfloat16() for x in signals(2))
    torch.testing.assert_close(filtered_sdr(est, sources), filtered_sdr(est.double(), sources.double()))
