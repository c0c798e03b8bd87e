"""Stabilization in a plain loop: the same training as StabSystem's, saved and loaded anywhere, on one rank or two."""

import os
import subprocess
import sys
from pathlib import Path

import loops
import pytest
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.stabilizers import Comm, Reweighting, SampleDropout, Stabilization, Stabilizer, SwitchCounter


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


def make(stabilizers=(), items=None, **kwargs):
    return Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), stabilizers, items, **kwargs)


def batch(n_items=4, n_src=2):
    torch.manual_seed(0)
    sources = torch.randn(n_items, n_src, 100)
    return sources + 0.3 * torch.randn(n_items, n_src, 100), sources, sources.sum(1), torch.arange(n_items)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    trained, rows = loops.train_system(tmp_path_factory.mktemp("system"))
    return trained.model.state_dict(), rows


def test_a_plain_loop_is_the_systems_training_to_the_bit(system):
    loop = loops.Loop()
    rows = [loop.train_epoch(epoch) for epoch in range(loops.EPOCHS)]
    assert_same(loop.net.state_dict(), system[0])
    for ours, logged in zip(rows, system[1], strict=True):
        assert set(ours) == set(logged)
        for name, value in ours.items():
            assert value == pytest.approx(logged[name], rel=1e-6), name  # Lightning keeps float32
    assert "switch_ratio" not in rows[0]
    assert {"switch_ratio", "kept", "effective_share", "loss"} <= set(rows[1])
    assert min(row["kept"] for row in rows) < 1  # else nothing was put to the test


@pytest.mark.parametrize(("epoch", "n_batches"), [(1, 0), (1, 2), (2, 4)])
def test_saved_and_loaded_anywhere_it_goes_on_to_the_bit(system, tmp_path, epoch, n_batches):
    """Between epochs, within one, and after the last batch of one that has not ended."""
    loop = loops.Loop()
    rows = [loop.train_epoch(e) for e in range(epoch)]
    if n_batches:
        loop.train_epoch(epoch, after_batch=lambda i: i + 1 == n_batches)
    torch.save(loop.state(), tmp_path / "state.pt")
    again = loops.Loop()
    again.load(torch.load(tmp_path / "state.pt", weights_only=True))
    rows.append(again.train_epoch(epoch, skip=n_batches))
    rows += [again.train_epoch(e) for e in range(epoch + 1, loops.EPOCHS)]
    assert_same(again.net.state_dict(), system[0])
    assert rows[-1]["switch_ratio"] == pytest.approx(system[1][-1]["switch_ratio"])
    assert rows[epoch]["kept"] == pytest.approx(system[1][epoch]["kept"])


def test_two_ranks_are_the_systems_training_on_two(tmp_path):
    """With a new start from rank 0's state after the first epoch."""
    for mode in ("loop", "system"):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
        path = os.pathsep.join([str(Path(loops.__file__).parent), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [*command, "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", loops.__file__, mode, str(tmp_path)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    ours, theirs = (torch.load(tmp_path / f"{mode}.pt", weights_only=True) for mode in ("loop", "system"))
    assert_same(ours["weights"], theirs["weights"])
    for mine, logged in zip(ours["rows"], theirs["rows"], strict=True):
        assert set(mine) == set(logged)
        for name, value in mine.items():
            assert value == pytest.approx(logged[name], rel=1e-6), name


def test_without_stabilizers_it_is_asteroids_loss():
    est, sources, *_ = batch()
    stab = make()
    stab.begin_epoch(0)
    torch.testing.assert_close(stab(est, sources), PITLossWrapper(pairwise_neg_sisdr)(est, sources))
    assert set(stab.end_epoch()) == {"loss", "silent_sources", "nonfinite_items"}


def test_ids_are_numbers_or_names():
    est, sources, mixture, ids = batch()
    losses = []
    names = ["anna", "bert", "cleo", "dora"]
    for items, given in ((4, ids), (4, ids.tolist()), (4, ids.int()), (names, names), (4, names)):
        stab = make([SampleDropout(epsilon_db=0.1)], items)
        for epoch in range(2):
            stab.begin_epoch(epoch)
            losses.append(stab(est, sources, mixture=mixture, ids=given).item())
            figures = stab.end_epoch()
        assert stab.stabilizers[0].bank.lookup(torch.arange(4))[0].isfinite().all()
        assert figures["switch_ratio"] == 0.0
    assert len(set(losses)) == 1


@pytest.mark.parametrize(
    ("items", "ids", "message"),
    [
        (4, [0, 1, 2, 4], "ids must be from 0 to 4 - 1, .*, got 4"),
        (4, [0, 1, -1, 2], "ids must be from 0 to 4 - 1, .*, got -1"),
        (4, [0, 1, 2, 2], "in a batch once .*, got id 2 twice"),
        (4, [0, 1, 2], r"ids must be 4 integers or names, .* got torch.int64 of shape \[3\]"),
        (4, [0.0, 1.0, 2.0, 3.0], "ids must be 4 integers or names, .* got torch.float32"),
        (3, ["a", "b", "c", "d"], "there are 3 items, and 'd' would be one more"),
        (["anna", "bert", "cleo", "dora"], ["anna", "bert", "cleo", "dorra"], "got 'dorra' .did you mean 'dora'"),
        (4, None, "SampleDropout goes by items: .* ids=, got None"),
    ],
)
def test_ids_that_cannot_be_used_are_refused(items, ids, message):
    est, sources, mixture, _ = batch()
    stab = make([SampleDropout(epsilon_db=0.1)], items)
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match=message):
        stab(est, sources, mixture=mixture, ids=ids)


def test_an_id_may_come_twice_where_nothing_remembers_items():
    est, sources, mixture, _ = batch()
    stab = make([Reweighting(alpha=0.1)])
    stab.begin_epoch(0)
    assert stab(est, sources, mixture=mixture, ids=[0, 0, 1, 1]).isfinite()


def test_names_on_several_processes_need_to_be_known():
    class Two(Comm):
        n_ranks = 2

        def gather(self, values):
            return torch.stack([values, values])

    est, sources, mixture, _ = batch()
    stab = make([SampleDropout(epsilon_db=0.1)], 4, comm=Two())
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match="ids that are names need the names of all items on 2 processes"):
        stab(est, sources, mixture=mixture, ids=["a", "b", "c", "d"])


def test_the_number_of_sources_may_not_change_where_it_is_remembered():
    est, sources, _, ids = batch(n_src=2)
    more = batch(n_src=3)
    stab = make([SwitchCounter()], 4)
    stab.begin_epoch(0)
    stab(est, sources, ids=ids)
    with pytest.raises(ValueError, match="SwitchCounter remembers assignments of 2 sources, got 3"):
        stab(more[0], more[1], ids=ids)
    plain = make([Reweighting(alpha=0.1)])
    plain.begin_epoch(0)
    for some in (batch(n_src=2), more):
        assert plain(some[0], some[1], mixture=some[2]).isfinite()


def test_what_is_needed_and_missing_is_named():
    est, sources, *_ = batch()
    with pytest.raises(ValueError, match="must be an AssignmentLossWrapper, got PITLossWrapper"):
        Stabilization(PITLossWrapper(pairwise_neg_sisdr))
    with pytest.raises(ValueError, match="must be Stabilizers or StepObservers, got Linear"):
        make([torch.nn.Linear(1, 1)])
    stab = make([SampleDropout(epsilon_db=0.1)])
    with pytest.raises(StabError, match="SampleDropout needs the training items: give Stabilization items="):
        stab.begin_epoch(0)
    stab = make([Reweighting(alpha=0.1)])
    with pytest.raises(ValueError, match="between begin_epoch.. and end_epoch"):
        stab(est, sources)
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match="an improvement is over the mixture: .* mixture="):
        stab(est, sources)
    with pytest.raises(ValueError, match="an epoch must have a step before it ends, got none"):
        make().end_epoch()
    with pytest.raises(ValueError, match="nothing_left is about the last call"):
        make().nothing_left  # noqa: B018
    for items, message in ((0, "at least 1, got 0"), (iter([]), "a data set with a length, got list_iterator")):
        with pytest.raises(ValueError, match=message):
            make(items=items)


class Half(Stabilizer):
    """Drops what it is told."""

    def __init__(self):
        self.drop = torch.zeros(4, dtype=torch.bool)

    def logits(self, step):
        return torch.where(self.drop, -torch.inf, 0.0)


def test_nothing_left_is_reported():
    est, sources, *_ = batch()
    half = Half()
    stab = make([half])
    stab.begin_epoch(0)
    est.requires_grad_()
    for drop, left in ((0, False), (3, False), (4, True)):
        half.drop[:drop] = True
        loss = stab(est, sources)
        assert stab.nothing_left is left
        assert stab.last.nothing_left is left
        loss.backward()
    assert loss == 0
    assert est.grad.isfinite().all()


def test_a_mixture_that_is_not_finite_has_no_loss():
    est, sources, mixture, _ = batch()
    stab = make()
    stab.begin_epoch(0)
    mixture[1, 3] = torch.nan
    expected = ExactPITLossWrapper(pairwise_neg_sisdr)(est[[0, 2, 3]], sources[[0, 2, 3]])
    torch.testing.assert_close(stab(est, sources, mixture=mixture), expected)
    assert stab.end_epoch()["nonfinite_items"] == 1


def test_a_stabilizer_must_give_logits():
    class Silent(Stabilizer):
        pass

    with pytest.raises(TypeError, match="abstract method '?logits"):
        Silent()


def test_a_state_of_others_is_refused():
    state = make([Reweighting(alpha=0.1)], 4).state_dict()
    with pytest.raises(StabError, match=r"saved with stabilizers \['Reweighting', 'SwitchCounter'\], these are \["):
        make([SampleDropout()], 4).load_state_dict(state)
    names = [f"{c}" for c in "abcd"]
    stab = make([SwitchCounter()], loops.Tones(4))
    with pytest.raises(StabError, match="was trained on items with fingerprint .*, these 6 have"):
        make([SwitchCounter()], loops.Tones(6)).load_state_dict(stab.state_dict())
    assert make([SwitchCounter()], names).state_dict()["stabilizers"].keys() == {"SwitchCounter"}


def test_items_that_are_mixed_afresh_are_refused():
    items = loops.Tones(4)
    items.stable_ids = False
    with pytest.raises(StabError, match=r"SampleDropout needs stable ids, but Tones mixes .*\(stabilizer=\[\]\)"):
        make([SampleDropout()], items)
    assert make([Reweighting(alpha=0.1)], items).stabilizers[1:] == []  # and switches are not counted


def test_an_item_that_two_processes_saw_counts_once():
    """A sampler that pads the last batch: the tables must not be mixed entry by entry."""
    tables = {0: [[0, 1, 2], [1, 2, 0], [-1] * 3], 1: [[2, 1, 0], [-1] * 3, [-1] * 3]}
    tables = {rank: torch.tensor(table, dtype=torch.int8).unsqueeze(0) for rank, table in tables.items()}

    class Both(Comm):
        """Computes what both processes would reduce, in the order in which they would."""

        n_ranks = 2

        def __init__(self, rank):
            self.own, self.calls = rank, []

        rank = property(lambda self: self.own)

        def reduce_max(self, values):
            self.calls.append(values)
            if len(self.calls) == 1:
                saw = (tables[1 - self.own] != -1).all(-1)
                other = torch.where(saw, 2 - (1 - self.own), 0).to(values.dtype)
            else:
                first = self.calls[0]
                other_saw = (tables[1 - self.own] != -1).all(-1)
                mine = other_saw & (torch.maximum(first, torch.where(other_saw, 1 + self.own, 0)) == 1 + self.own)
                other = torch.where(mine.unsqueeze(-1), tables[1 - self.own], -1)
            return torch.maximum(values, other.to(values.dtype))

    for rank in (0, 1):
        counter = SwitchCounter()
        counter._current = tables[rank]
        counter.end_epoch(Both(rank))
        assert counter.previous.tolist() == [[[0, 1, 2], [1, 2, 0], [-1, -1, -1]]]


def test_a_step_without_gradients_is_refused():
    est, sources, *_ = batch()
    stab = make()
    stab.begin_epoch(0)
    with torch.no_grad(), pytest.raises(ValueError, match="a step is one of training.* call stab.loss"):
        stab(est, sources)


@pytest.mark.parametrize("logits", [torch.zeros(()), torch.zeros(1), torch.zeros(4, 1), torch.zeros(5), None, 0.0])
def test_logits_of_another_shape_are_refused(logits):
    class Wrong(Stabilizer):
        def logits(self, step):
            return logits

    est, sources, *_ = batch()
    stab = make([Wrong()])
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match=r"Wrong.logits\(\) must return a tensor of shape \[4\] .* or \[4, 2\]"):
        stab(est, sources)


def test_a_saved_state_stays_as_it_was():
    loop = loops.Loop()
    loop.train_epoch(0, after_batch=lambda i: i == 1)
    state = loop.stab.state_dict()
    bank = state["stabilizers"]["SampleDropout"]["bank"]["metric"].clone()
    table = state["stabilizers"]["SwitchCounter"]["current"].clone()
    for other in (loops.Loop(), loops.Loop()):
        other.stab.load_state_dict(state)
        other.train_epoch(0, skip=2)
    loop.train_epoch(1)
    assert torch.equal(state["stabilizers"]["SampleDropout"]["bank"]["metric"], bank)
    assert torch.equal(state["stabilizers"]["SwitchCounter"]["current"], table)


@pytest.mark.parametrize("layers", [(2, 1), (1, 2)])
def test_another_number_of_layers_is_compared_with_nothing(layers):
    est, sources, *_ = batch()
    stab = Stabilization(LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr)), items=4)
    for epoch, n_layers in enumerate(layers):
        stab.begin_epoch(epoch)
        stab(est.expand(n_layers, *est.shape), sources, ids=range(4))
        assert "switch_ratio" not in stab.end_epoch()


def test_figures_have_names_of_their_own():
    est, sources, *_ = batch()
    stab = make()
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match="figures must have names of their own, got 'loss'"):
        stab(est, sources, figures={"loss": torch.tensor(99.0)})
