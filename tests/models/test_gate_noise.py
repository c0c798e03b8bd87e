"""The noise of the gates' decisions as an argument of a refining network."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from asteroid_stab.models import LatentRefinementNet, layered_model

SIZE = {"n_filters": 12, "bn_chan": 6, "upsampling_depth": 2, "gate_segment_s": 0.1, "n_blocks": 2}


def net(n_iterations=(2, 3), **arguments):
    torch.manual_seed(3)
    model = LatentRefinementNet(3, **{**SIZE, "gate": True, "n_iterations": list(n_iterations), **arguments}).double()
    for gate in model.masker.gates:
        with torch.no_grad():
            gate.over_frames.weight.mul_(10.0)  # decisions differ from item to item
    return model


def mixtures(n_items=4, n_samples=800):
    return torch.randn(n_items, n_samples, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gumbel(n_iterations, n_items=4):
    generator = torch.Generator().manual_seed(2)
    return -torch.empty(n_iterations, n_items, 2, dtype=torch.float64).exponential_(generator=generator).log()


def counted(model, wav, **arguments):
    """Estimates, and the iterations of each item."""
    est, figures = model.forward_with_figures(wav, **arguments)
    return est, figures["n_iterations"]


def run(model, wav, **arguments):
    """Estimates, decisions and gradients of a training call."""
    model.zero_grad()
    est, n_used = counted(model, wav, **arguments)
    (est.square().mean() + n_used.mean()).backward()
    return est.detach(), n_used.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def equal(these, others):
    return all(torch.equal(a, b) for a, b in zip(these, others, strict=True))


def test_without_noise_training_decides_as_evaluation_does():
    model, wav = net(), mixtures()
    with torch.no_grad():
        trained = counted(model, wav, gate_noise=torch.zeros(5, 4, 2))
        evaluated = counted(model.eval(), wav)
    torch.testing.assert_close(trained[0], evaluated[0])
    assert trained[1].tolist() == evaluated[1].tolist()
    assert evaluated[1].tolist() == [1, 0, 2, 3]


def test_the_decisions_of_a_noise():
    """The values of the code that kept the noise in a queue."""
    model, wav = net(), mixtures()
    est, n_used, _ = run(model, wav, gate_noise=gumbel(5))
    assert n_used.tolist() == [1, 0, 3, 3]
    expected = torch.tensor([0.00360172649, 0.00158113351, 0.00900078907, 0.0104037742], dtype=torch.float64)
    torch.testing.assert_close(est.square().mean((1, 2)), expected, rtol=1e-6, atol=0)


def test_each_iteration_of_each_block_takes_its_own_row():
    model, wav = net(), mixtures()
    taken = [[], []]
    for block, rows in enumerate(taken):
        model.masker.gates[block].register_forward_hook(lambda _, args, out, rows=rows: rows.append(args[1]))
    noise = gumbel(5)
    counted(model, wav, gate_noise=noise)
    assert equal(taken[0], noise[:2])
    assert equal(taken[1], noise[2:])
    counted(model, wav, n_iterations=[0, 1], gate_noise=noise[:1])
    assert equal(taken[1][3:], noise[:1])


@pytest.mark.parametrize("stage", [1, 2])
def test_a_stage_takes_the_noise_of_its_own_block_alone(stage):
    model, wav = net(own_heads=True), mixtures()
    model.train_stage(stage)
    assert model.trained_iterations == [2, 3][stage - 1]
    taken = []
    model.masker.gates[stage - 1].register_forward_hook(lambda _, args, out: taken.append(args[1]))
    noise = gumbel(model.trained_iterations)
    counted(model, wav, gate_noise=noise)
    assert equal(taken, noise)


def test_items_keep_their_noise_at_any_place_in_the_batch_and_at_any_length():
    model, wav, noise = net(), mixtures(), gumbel(5)
    est, n_used = counted(model, wav, gate_noise=noise)
    order = torch.tensor([2, 0, 3, 1])
    moved, moved_used = counted(model, wav[order], gate_noise=noise[:, order])
    torch.testing.assert_close(moved, est[order])
    assert moved_used.tolist() == n_used[order].tolist()
    lengths = [800, 500, 800, 500]
    cut, cut_used = counted(model, wav, lengths=lengths, gate_noise=noise)
    for i, length in enumerate(lengths):
        alone, used = counted(model, wav[i : i + 1, :length], gate_noise=noise[:, i : i + 1])
        torch.testing.assert_close(cut[i : i + 1, :, :length], alone)
        assert cut_used[i] == used


@pytest.mark.parametrize("layers", [False, True])
def test_a_recomputed_block_decides_as_at_first(layers, monkeypatch):
    """Activation checkpointing runs the blocks again in the backward pass, with the same noise."""
    wav, noise = mixtures(), gumbel(5)
    results, calls = [], []
    for recompute in (False, True):
        model = layered_model(net()) if layers else net()
        for gate in model.masker.gates:
            gate.register_forward_hook(lambda _, args, out, n=recompute: calls.append(n))
        if recompute:
            steps = model.masker.steps

            def again(hidden, block, n_iterations, noise, steps=steps):
                return iter(
                    checkpoint(lambda h: list(steps(h, block, n_iterations, noise)), hidden, use_reentrant=False)
                )

            monkeypatch.setattr(model.masker, "steps", again)
        results.append(run(model, wav, gate_noise=noise))
    assert calls.count(True) > calls.count(False) == 5
    for first, second in zip(*results, strict=True):
        assert equal(first, second)


def test_evaluation_takes_no_noise_into_account():
    model, wav = net().eval(), mixtures()
    assert torch.equal(counted(model, wav, gate_noise=gumbel(5))[0], model(wav))


@pytest.mark.parametrize(
    ("arguments", "call", "message"),
    [
        ({}, {"gate_noise": gumbel(4)}, r"gate_noise must be \[5, 4, 2\], got \[4, 4, 2\]"),
        ({}, {"gate_noise": gumbel(5, 3)}, r"gate_noise must be \[5, 4, 2\], got \[5, 3, 2\]"),
        ({}, {"gate_noise": gumbel(5), "n_iterations": 1}, r"gate_noise must be \[2, 4, 2\], got \[5, 4, 2\]"),
        ({"gate": False}, {"gate_noise": gumbel(5)}, r"gate_noise must be None without gates, got \[5, 4, 2\]"),
    ],
)
def test_noise_that_does_not_fit_is_refused(arguments, call, message):
    with pytest.raises(ValueError, match=message):
        counted(net(**arguments), mixtures(), **call)
