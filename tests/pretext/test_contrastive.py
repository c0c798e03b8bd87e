"""CC: its loss against one written out, its masks, and what it trains."""

import copy

import numpy as np
import pytest
import torch
from asteroid.models import ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet
from torch import nn
from torch.nn.functional import cosine_similarity, normalize

from asteroid_stab.errors import StabError
from asteroid_stab.models import LatentRefinementNet
from asteroid_stab.pretext import ContrastivePrediction

DUAL = {"n_filters": 8, "chunk_size": 10, "n_repeats": 2}
MAKE = {
    "conv": lambda: ConvTasNet(1, n_filters=16, n_blocks=2, n_repeats=2, bn_chan=4, hid_chan=8, skip_chan=4),
    "dprnn": lambda: DPRNNTasNet(1, bn_chan=4, hid_size=4, **DUAL),
    "dptnet": lambda: DPTNet(1, n_heads=2, ff_hid=4, **DUAL),
    "sudormrf": lambda: SuDORMRFImprovedNet(
        1, bn_chan=4, num_blocks=2, upsampling_depth=2, n_filters=8, kernel_size=21, stride=10
    ),
    "refiner": lambda: LatentRefinementNet(
        1, n_blocks=2, n_iterations=2, gate=True, own_heads=True, bn_chan=4, upsampling_depth=2, n_filters=8
    ),
}


def task_of(model, **kwargs):
    torch.manual_seed(0)
    task = ContrastivePrediction(**kwargs)
    task.prepare(model)
    return task


def generators(n, seed=0):
    return [np.random.default_rng((seed, i)) for i in range(n)]


def test_the_loss_of_features_that_say_nothing_is_chance():
    torch.manual_seed(0)
    c, q = (normalize(torch.randn(256, 800), dim=0) for _ in range(2))
    loss, accuracy = ContrastivePrediction().info_nce(c, q, np.random.default_rng(0))
    assert loss.item() == pytest.approx(np.log(101), rel=0.05)
    assert accuracy.item() < 0.05
    loss, accuracy = ContrastivePrediction().info_nce(q, q, np.random.default_rng(0))
    assert loss.item() < 0.05
    assert accuracy.item() == 1


def test_the_loss_is_the_equation():
    torch.manual_seed(0)
    c, q = (normalize(torch.randn(8, 12, dtype=torch.float64), dim=0) for _ in range(2))
    task = ContrastivePrediction(n_distractors=5, temperature=0.3)
    loss, _ = task.info_nce(c, q, np.random.default_rng(3))
    others = np.random.default_rng(3).integers(11, size=(12, 5))
    losses = []
    for t in range(12):
        distractors = [k + (k >= t) for k in others[t]]
        assert t not in distractors
        terms = [(cosine_similarity(c[:, t], q[:, k], 0) / 0.3).exp() for k in [t, *distractors]]
        losses.append(-(terms[0] / sum(terms)).log())
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_masks_are_spans_of_at_least_two_frames():
    task = ContrastivePrediction(span_prob=0.065, span=10)
    masks = [task.draw(1000, generator) for generator in generators(100)]
    assert np.mean(masks) == pytest.approx(1 - (1 - 0.065) ** 10, abs=0.02)
    rare = ContrastivePrediction(span_prob=0.001, span=2)
    assert all(rare.draw(20, generator).sum() > 1 for generator in generators(30))
    with pytest.raises(StabError, match="at least 2 frames to be masked, got 1"):
        task.draw(1, np.random.default_rng(0))


@pytest.mark.parametrize("kind", MAKE)
def test_it_trains_encoder_masker_and_itself_and_freezes_the_rest(kind):
    model = MAKE[kind]()
    before = copy.deepcopy(model.state_dict())
    task = task_of(model, n_dims=16, n_distractors=10)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    loss = task(model, torch.randn(2, 1600), torch.randn(2, 1, 1600), generators(2))
    assert loss.shape == (2,)
    loss.mean().backward()
    trained = [*task.parameters(), *(p for p in model.parameters() if p.requires_grad)]
    assert all(p.grad is not None for p in trained)
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in model.decoder.parameters())
    frozen = [name for name, p in model.masker.named_parameters() if not p.requires_grad]
    assert any(name.startswith(("mask_net", "first_out")) for name in frozen)
    assert set(task.figures()) == {"contrastive_accuracy", "target_spread"}


def test_the_masked_frames_are_not_seen():
    """Other input in a masked frame changes the target there and no context."""
    model = ConvTasNet(1, n_filters=16, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=4)
    task = task_of(model)
    mixture = torch.randn(1, 1600)
    mask = torch.zeros(1, 199, dtype=torch.bool)
    mask[:, 100:110] = True
    changed = mixture.clone()
    changed[:, 104 * 8 : 106 * 8] += 1.0
    (a, b), (c, d) = (task._frames(model, wav, mask) for wav in (mixture, changed))
    assert not torch.allclose(a, c)
    torch.testing.assert_close(b, d)
    assert not torch.allclose(b, task._frames(model, mixture)[1])


def test_targets_of_frames_that_are_all_positive_are_spread():
    """Normalised over time; without, the directions of an encoder's frames are alike from the start."""
    model = MAKE["conv"]()
    task = task_of(model, n_dims=16, n_distractors=10)
    with torch.no_grad():
        model.encoder.filterbank._filters.abs_()
    task(model, torch.rand(2, 1600) + 1, torch.randn(2, 1, 1600), generators(2))
    assert task.figures()["target_spread"] > 0.5


def test_a_tie_is_no_find():
    task = ContrastivePrediction(n_distractors=5)
    same = torch.ones(4, 20) / 2
    loss, accuracy = task.info_nce(same, same, np.random.default_rng(0))
    assert accuracy == 0
    torch.testing.assert_close(loss, torch.tensor(6.0).log())


def test_many_frames_are_compared_in_parts():
    generator, other = (np.random.default_rng(1) for _ in range(2))
    task = ContrastivePrediction(n_distractors=7)
    c, q = torch.nn.functional.normalize(torch.randn(2, 8, 1300), dim=1).requires_grad_()
    loss, _ = task.info_nce(c, q, generator)
    others = other.integers(1299, size=(1300, 7))
    others += others >= np.arange(1300)[:, None]
    like = (c.T @ q) / task.temperature
    every = torch.cat([like.diagonal().unsqueeze(1), like.gather(1, torch.from_numpy(others))], 1)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(every, torch.zeros(1300, dtype=torch.long)))


def test_collapse_is_told():
    model = MAKE["conv"]()
    task = task_of(model, n_dims=16, n_distractors=10)
    task(model, torch.randn(2, 1600), torch.randn(2, 1, 1600), generators(2))
    assert task.figures()["target_spread"] > 0.5
    assert task.warning({"target_spread": 0.5, "contrastive_accuracy": 0.1}) == ""
    nn.init.zeros_(task.of_target.weight)
    task(model, torch.randn(2, 1600), torch.randn(2, 1, 1600), generators(2))
    figures = {name: float(value) for name, value in task.figures().items()}
    assert "collapse to one direction (spread 0.000)" in task.warning(figures)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"span_prob": 0.0}, "span_prob must be above 0 and at most 1, got 0"),
        ({"span": 0}, "span must be at least 1, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(StabError, match=message):
        ContrastivePrediction(**arguments)


def test_a_model_without_known_layers_is_refused():
    with pytest.raises(StabError, match="layers are known of .*, got Linear"):
        ContrastivePrediction().prepare(nn.Linear(1, 1))
