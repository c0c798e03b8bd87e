"""What every stabilizer and observer keeps: the contract, over all that the package has. A new one needs an entry."""

import copy

import loops
import numpy as np
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

import asteroid_stab.callbacks
import asteroid_stab.stabilizers
from asteroid_stab.callbacks import AssignmentTracker, DataMapTracker, WeightTracker
from asteroid_stab.items import Items
from asteroid_stab.losses import ExactPITLossWrapper, ProbPITLossWrapper, RisingSchedule
from asteroid_stab.stabilizers import (
    Comm,
    DataMap,
    DataMapWeighting,
    GradedDropout,
    ItemWeights,
    LossThreshold,
    Reweighting,
    SampleDropout,
    Stabilization,
    Stabilizer,
    StepObserver,
    SwitchCounter,
)

N, J, EPOCHS = 12, 3, 4
LABELS = np.random.default_rng(0).integers(0, 2, (N, J))
ITEMS = Items(N, [f"item {i}" for i in range(N)], "f" * 16, classes=("dog", "rain"), labels=LABELS)

# A neutral setting, which must be plain PIT, and settings that must not.
ENTRIES = {
    SampleDropout: (
        [{"epsilon_db": float("inf")}, {"epsilon_db": 0.0, "warm_up_epochs": EPOCHS}],
        [{"epsilon_db": 0.0, "keep_same": False}, {"epsilon_db": 0.5, "keep_same": False, "drop_logit": -1.0},
         {"epsilon_db": 0.0, "keep_same": False, "metric": "si_sdr_i", "reset_every_epochs": 2},
         {"epsilon_db": 1.0, "keep_same": False, "metric": "si_sdr_i", "store_relaxed": True}],
    ),
    GradedDropout: (
        [{}, {"epsilon_db": 0.0, "keep_same": False}],
        [{"epsilon_db": 0.2, "keep_same": False, "per_db": 0.2, "per_switch": 0.1},
         {"epsilon_db": 0.0, "keep_same": False, "drop_logit": -1.0, "reset_every_epochs": 2, "per_switch": 0.3}],
    ),
    Reweighting: (
        [{}, {"alpha": 0.0, "level": "mixture"}],
        [{"alpha": 0.2}, {"alpha": -0.1, "level": "mixture", "improvement": False},
         {"schedule": RisingSchedule(0.2, until=3), "schedule_unit": "step"}, {"class_bias": [["dog", 1.0]]}],
    ),
    DataMapWeighting: (
        [{}, {"per_mean_db": 1.0, "per_spread_db": 1.0, "least_visits": EPOCHS}],
        [{"per_mean_db": -0.2}, {"per_spread_db": 0.3, "metric": "si_sdr_i", "decay": 0.7},
         {"per_mean_db": 0.1, "per_spread_db": -0.2, "least_visits": 3}],
    ),
    LossThreshold: ([{}], [{"threshold": 0.0}, {"threshold": 3.0}]),
    SwitchCounter: ([{}], []),
    AssignmentTracker: ([{"save": False}], []),
    DataMap: ([{}, {"metric": "si_sdr_i", "decay": 0.5}], []),
    DataMapTracker: ([{}], []),
    ItemWeights: ([{}], []),
    WeightTracker: ([{}], []),
}  # fmt: skip
NEUTRAL = [(cls, kwargs) for cls, (neutral, _) in ENTRIES.items() for kwargs in neutral]
ACTIVE = [(cls, kwargs) for cls, (_, active) in ENTRIES.items() for kwargs in active]


def name(pair):
    return f"{pair[0].__name__}-{','.join(pair[1])}" if isinstance(pair, tuple) else None


neutral = pytest.mark.parametrize("made", NEUTRAL, ids=name)
active = pytest.mark.parametrize("made", ACTIVE, ids=name)
every = pytest.mark.parametrize("made", [*NEUTRAL, *ACTIVE], ids=name)


def test_every_stabilizer_has_an_entry():
    rooms = (asteroid_stab.stabilizers, asteroid_stab.callbacks)
    public = {getattr(room, name) for room in rooms for name in room.__all__}
    observers = {thing for thing in public if isinstance(thing, type) and issubclass(thing, StepObserver)}
    assert observers - {Stabilizer, StepObserver} == set(ENTRIES)


def signals(seed=0, n=N):
    """Estimates that get better and worse from epoch to epoch, sources and mixtures, in float64."""
    random = torch.Generator().manual_seed(seed)
    sources = torch.randn(n, J, 64, generator=random, dtype=torch.float64)
    epochs = []
    for _ in range(EPOCHS):
        noise = torch.randn(n, J, 64, generator=random, dtype=torch.float64)
        est = sources + noise * torch.rand(n, 1, 1, generator=random, dtype=torch.float64) * 3
        order = torch.stack([torch.randperm(J, generator=random) for _ in range(n)])
        epochs.append(est.gather(1, order[..., None].expand_as(est)))
    return epochs, sources, sources.sum(1)


class Train:
    """Steps over batches of four items; the value and the gradient of every one are kept."""

    def __init__(self, stabilizers, comm=None, loss=ExactPITLossWrapper, items=ITEMS):
        self.stab = Stabilization(loss(pairwise_neg_sisdr), stabilizers, items, comm, count_switches=False)
        self.values, self.grads, self.rows = [], [], []

    def epoch(self, epoch, data, begin=True, batches=range(0, N, 4), end=True):
        epochs, sources, mixture = data
        if begin:
            self.stab.begin_epoch(epoch)
        for i in batches:
            rows = slice(i, i + 4)
            est = epochs[epoch][rows].clone().requires_grad_()
            value = self.stab(est, sources[rows], mixture[rows], torch.arange(N)[rows])
            value.backward()
            self.values.append(value.item())
            self.grads.append(est.grad)
        if end:
            self.rows.append(self.stab.end_epoch())
        return self

    def all(self, data):
        for epoch in range(EPOCHS):
            self.epoch(epoch, data)
        return self


def same(a, b):
    assert a.values == b.values
    assert all(torch.equal(x, y) for x, y in zip(a.grads, b.grads, strict=True))


@neutral
@pytest.mark.parametrize("loss", [ExactPITLossWrapper, ProbPITLossWrapper])
def test_the_neutral_setting_is_plain_pit_to_the_bit(made, loss):
    cls, kwargs = made
    data = signals()
    same(Train([cls(**kwargs)], loss=loss).all(data), Train([], loss=loss).all(data))


@active
def test_another_setting_is_not(made):
    cls, kwargs = made
    data = signals()
    assert Train([cls(**kwargs)]).all(data).values != Train([]).all(data).values


@every
def test_the_order_of_the_estimates_does_not_matter(made):
    """Relabelling all outputs alike, in all epochs: the same assignments to another name."""
    cls, kwargs = made
    epochs, sources, mixture = signals()
    turned = Train([cls(**kwargs)]).all(([est[:, [1, 2, 0]] for est in epochs], sources, mixture))
    plain = Train([cls(**kwargs)]).all((epochs, sources, mixture))
    torch.testing.assert_close(torch.tensor(turned.values), torch.tensor(plain.values))
    for a, b in zip(turned.grads, plain.grads, strict=True):
        torch.testing.assert_close(a, b[:, [1, 2, 0]])
    assert turned.rows == [{k: pytest.approx(v) for k, v in row.items()} for row in plain.rows]


@every
@pytest.mark.parametrize("at", [(1, 0), (1, 2), (2, 3)])
def test_resumed_equals_uninterrupted(made, at):
    """Saved between epochs, and within one."""
    cls, kwargs = made
    epoch, n_batches = at
    data, batches = signals(), [*range(0, N, 4)]
    whole = Train([cls(**copy.deepcopy(kwargs))]).all(data)
    first = Train([cls(**copy.deepcopy(kwargs))])
    for e in range(epoch):
        first.epoch(e, data)
    if n_batches:
        first.epoch(epoch, data, batches=batches[:n_batches], end=False)
    again = Train([cls(**copy.deepcopy(kwargs))])
    again.stab.load_state_dict(copy.deepcopy(first.stab.state_dict()))
    again.epoch(epoch, data, batches=batches[n_batches:])
    for e in range(epoch + 1, EPOCHS):
        again.epoch(e, data)
    n = len(again.values)
    assert again.values == whole.values[-n:]
    assert all(torch.equal(a, b) for a, b in zip(again.grads, whole.grads[-n:], strict=True))
    assert again.rows == whole.rows[epoch:]


class Rank(Comm):
    """One of two processes, which take turns in one: each sees what the other sent in its last run."""

    n_ranks = 2

    def __init__(self, rank):
        self._rank, self.sent, self.other = rank, [], None

    @property
    def rank(self):
        return self._rank

    def _exchange(self, values):
        self.sent.append(values.detach().clone())
        n = len(self.sent) - 1
        theirs = self.other[n] if self.other is not None and n < len(self.other) else values
        return [values, theirs] if self.rank == 0 else [theirs, values]

    def gather(self, values):
        return torch.stack(self._exchange(values))

    def reduce_max(self, values):
        return torch.maximum(*self._exchange(values))


@every
def test_two_processes_equal_one_with_twice_the_batch(made):
    """Each process runs again and again with what the other sent, until nothing that is sent changes any more."""
    cls, kwargs = made
    epochs, sources, mixture = signals()
    one = Train([cls(**copy.deepcopy(kwargs))]).all((epochs, sources, mixture))

    def run(rank, other):
        comm = Rank(rank)
        comm.other = other
        part = Train([cls(**copy.deepcopy(kwargs))], comm)
        for epoch in range(EPOCHS):
            part.stab.begin_epoch(epoch)
            for i in range(0, N, 4):
                rows = slice(i + 2 * rank, i + 2 * rank + 2)
                est = epochs[epoch][rows].clone().requires_grad_()
                value = part.stab(est, sources[rows], mixture[rows], torch.arange(N)[rows])
                value.backward()
                part.values.append(value.item())
                part.grads.append(est.grad)
            part.rows.append(part.stab.end_epoch())
        return part, comm.sent

    parts, sent = [None, None], [None, None]
    for _ in range(60):
        before = [None if s is None else [t.clone() for t in s] for s in sent]
        for rank in (0, 1):
            parts[rank], sent[rank] = run(rank, sent[1 - rank])
        if before[1] is not None and all(
            len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))
            for a, b in zip(before, sent, strict=True)
        ):
            break
    else:
        pytest.fail("the processes do not agree")
    values = (torch.tensor(parts[0].values) + torch.tensor(parts[1].values)) / 2  # each is its part times two
    torch.testing.assert_close(values, torch.tensor(one.values))
    for a, b, whole in zip(parts[0].grads, parts[1].grads, one.grads, strict=True):
        torch.testing.assert_close(torch.cat([a, b]) / 2, whole)
    # Figures of weights are means over processes of what each one's batch shows; all others are of all items.
    local = {"effective_share", "weight_entropy", "top_weight"}
    for row, whole in zip(parts[0].rows, one.rows, strict=True):
        assert {k: v for k, v in row.items() if k not in local} == {
            k: pytest.approx(v) for k, v in whole.items() if k not in local
        }
    assert parts[0].rows == parts[1].rows


@every
def test_silent_sources_and_items_that_are_not_finite_harm_nobody(made):
    """The weights of the others may change, since a softmax is over what is left; nothing is NaN."""
    cls, kwargs = made
    epochs, sources, mixture = signals()
    sources[1, 0], sources[2] = 0.0, 0.0
    mixture = sources.sum(1)
    mixture[5, 3] = torch.nan
    for est in epochs:
        est[9] = torch.inf
    train = Train([cls(**kwargs)]).all((epochs, sources, mixture))
    assert np.isfinite(train.values).all()
    for grads in (train.grads[i :: N // 4] for i in range(N // 4)):
        assert all(g.isfinite().all() for g in grads)
    assert all(not g[i].any() for g, i in ((train.grads[0], 2), (train.grads[1], 1), (train.grads[2], 1)))
    assert all(row["nonfinite_items"] == 2 and row["silent_sources"] == 1 + J for row in train.rows)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken(made, dtype):
    cls, kwargs = made
    epochs, sources, mixture = signals()
    train = Train([cls(**kwargs)]).all(([e.to(dtype) for e in epochs], sources.to(dtype), mixture.to(dtype)))
    plain = Train([cls(**kwargs)]).all((epochs, sources, mixture))
    torch.testing.assert_close(torch.tensor(train.values), torch.tensor(plain.values), rtol=0.1, atol=0.5)
    assert all(g.dtype == dtype and g.isfinite().all() for g in train.grads)


@active
def test_the_weights_carry_no_gradient(made):
    """What is differentiated is the weighted sum with the weights held: in float64, by finite differences."""
    cls, kwargs = made
    epochs, sources, mixture = signals(n=4)
    part, seen = cls(**kwargs), []

    class Look(StepObserver):
        def weighed(self, step, weights):
            seen.append(weights)

    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [part, Look()], ITEMS, count_switches=False)
    for epoch in range(2):
        stab.begin_epoch(epoch)
        est = epochs[epoch].clone().requires_grad_()
        stab(est, sources, mixture, torch.arange(4)).backward()
        stab.end_epoch()
    loss, _ = ExactPITLossWrapper(pairwise_neg_sisdr).assign(again := epochs[1].clone().requires_grad_(), sources)
    loss = loss if seen[-1].ndim == 2 else loss.mean(1)
    (seen[-1] * loss).sum().backward()
    torch.testing.assert_close(est.grad, again.grad)


@every
def test_the_state_is_plain(made, tmp_path):
    """torch.load admits it with weights_only."""
    cls, kwargs = made
    train = Train([cls(**kwargs)]).all(signals())
    torch.save(train.stab.state_dict(), tmp_path / "state.pt")
    again = Train([cls(**copy.deepcopy(kwargs))])
    again.stab.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))


@every
def test_another_model_starts_from_nothing(made):
    """forget() leaves what a new one would know."""
    cls, kwargs = made
    data = signals()
    part = cls(**kwargs)
    train = Train([part]).epoch(0, data)
    train.stab.forget()
    train.epoch(1, data)
    fresh = Train([cls(**kwargs)])
    fresh.stab.progress.clock = fresh.stab.progress.clock._replace(step=N // 4)
    fresh.epoch(1, data)
    assert train.values[-N // 4 :] == fresh.values
    assert train.rows[1] == fresh.rows[0]


@every
def test_it_is_a_lightning_callback(made, tmp_path):
    """The same values in Lightning's hooks as in the plain loop."""
    cls, kwargs = made
    if kwargs.get("class_bias"):
        pytest.skip("tones have no classes; tests/stabilizers/test_reweighting.py trains with a bias")
    _, rows = loops.train_system(tmp_path, stabilizers=[] if issubclass(cls, SwitchCounter) else [cls(**kwargs)])
    loop = loops.Loop()
    loop.stab = Stabilization(loop.stab.loss, [cls(**copy.deepcopy(kwargs))], loop.loader.dataset)
    for epoch, row in enumerate(rows):
        assert row == {k: pytest.approx(v, rel=1e-6) for k, v in loop.train_epoch(epoch).items()}
