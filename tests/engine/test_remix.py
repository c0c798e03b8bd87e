"""New mixtures of a batch's sources."""

import pytest
import torch

from asteroid_stab.engine.remix import remix


def test_every_place_is_permuted_by_itself_at_its_level():
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(6, 3, 500, generator=generator, dtype=torch.float64)
    sources *= torch.rand(6, 3, 1, generator=generator, dtype=torch.float64) + 0.1
    mixture, mixed, _ = remix(sources, torch.Generator().manual_seed(1))
    torch.testing.assert_close(mixture, mixed.sum(1))
    orders = []
    for place in range(3):
        like = torch.nn.functional.cosine_similarity(mixed[:, None, place], sources[None, :, place], dim=-1)
        order = like.argmax(1)
        torch.testing.assert_close(like.max(1).values, torch.ones(6, dtype=torch.float64))
        assert sorted(order.tolist()) == list(range(6))
        orders.append(order.tolist())
    assert len({tuple(order) for order in orders}) == 3

    def levels(x):
        return x.square().mean(-1).sqrt()

    ratio = levels(mixed) / levels(mixed)[:, :1]
    torch.testing.assert_close(ratio, levels(sources) / levels(sources)[:, :1])
    torch.testing.assert_close(levels(mixture), levels(sources.sum(1)))


def test_silent_sources_make_no_numbers_undefined():
    sources = torch.randn(4, 2, 100)
    sources[1, 0] = 0
    mixture, mixed, _ = remix(sources, torch.Generator().manual_seed(3))
    assert torch.isfinite(mixed).all()
    assert (mixed[:, 0].abs().sum(-1) == 0).sum() == 1
    zeros = torch.zeros(3, 2, 50)
    assert torch.equal(remix(zeros)[1], zeros)
    assert torch.equal(remix(zeros)[0], zeros[:, 0])
    assert mixture.shape == (4, 100)


def test_a_draw_is_that_of_its_generator():
    sources = torch.randn(8, 3, 20)
    one, two, other = (remix(sources, torch.Generator().manual_seed(seed))[1] for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_levels_and_lengths_of_padded_sources_are_of_the_true_parts():
    """A source keeps its samples; its level is that of its place, both measured without the zeros."""
    lengths = [100, 40, 100, 70, 10]
    random = torch.Generator().manual_seed(0)
    sources = torch.randn(5, 3, 100, generator=random, dtype=torch.float64)
    sources *= torch.rand(5, 3, 1, generator=random, dtype=torch.float64) + 0.1
    for item, length in enumerate(lengths):
        sources[item, :, length:] = 0
    mixture, mixed, mixed_lengths = remix(sources, torch.Generator().manual_seed(1), lengths)
    true = [(mixed[b, s] != 0).nonzero().max().item() + 1 for b in range(5) for s in range(3)]
    true = torch.tensor(true).view(5, 3)
    assert mixed_lengths == true.amax(1).tolist()
    assert sorted(true[:, 0].tolist()) == sorted(lengths)

    def rms(signal, length):
        return signal[:length].square().mean().sqrt().item()

    for b in range(5):
        assert rms(mixture[b], mixed_lengths[b]) == pytest.approx(rms(sources[b].sum(0), lengths[b]))
        got = [rms(mixed[b, s], true[b, s]) / rms(mixed[b, 0], true[b, 0]) for s in range(3)]
        assert got == pytest.approx([rms(sources[b, s], lengths[b]) / rms(sources[b, 0], lengths[b]) for s in range(3)])


def test_full_lengths_change_no_bit():
    sources = torch.randn(4, 3, 50)
    plain, full = (remix(sources, torch.Generator().manual_seed(1), lengths) for lengths in (None, [50] * 4))
    assert torch.equal(plain[1], full[1])
    assert full[2] is None
