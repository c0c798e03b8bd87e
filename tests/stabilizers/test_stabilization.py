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
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper, ProbPITLossWrapper
from asteroid_stab.stabilizers import Comm, Reweighting, SampleDropout, Stabilization, Stabilizer, SwitchCounter
from asteroid_stab.stabilizers.sums import EpochSums


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


@pytest.mark.slow
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
        (4, [0.0, 1.0, 2.0, 3.0], r"ids must be 4 integers or names, .* got 0.0 \(float\)"),
        (4, torch.rand(4), r"ids must be 4 integers or names, .* got torch.float32 of shape \[4\]"),
        (4, torch.ones(4, dtype=torch.bool), "ids must be 4 integers or names, .* got torch.bool"),
        (4, torch.ones(4, dtype=torch.complex64), "ids must be 4 integers or names, .* got torch.complex64"),
        (4, [True, False, True, False], r"ids must be 4 integers or names, .* got True \(bool\)"),
        (4, [None] * 4, r"ids must be 4 integers or names, .* got None \(NoneType\)"),
        (4, [b"a", b"b", b"c", b"d"], r"ids must be 4 integers or names, .* got b'a' \(bytes\)"),
        (4, "abcd", "ids must be 4 integers or names, .* got 'abcd'"),
        (4, 7, "ids must be 4 integers or names, .* got 7"),
        (4, ["a", 1, "b", 2], r"ids must be 4 integers or names, .* got 'a' \(str\) and other things mixed"),
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


@pytest.mark.parametrize("ids", [[0, 0, 1, 1], [7, 8, 9, -1], ["a", "b", "c", "d"], None, ["a", 1, None, 0.5]])
def test_ids_are_not_checked_where_nothing_remembers_items(ids):
    est, sources, mixture, _ = batch()
    stab = make([Reweighting(alpha=0.1)], 4, count_switches=False)
    stab.begin_epoch(0)
    for _ in range(2):
        assert stab(est, sources, mixture=mixture, ids=ids).isfinite()
    assert stab.ids.state() == []  # nothing is kept of names


def test_ids_are_all_numbers_or_all_names():
    """Where items have no names, a name takes the next number, which may be another item's."""
    est, sources, mixture, ids = batch()
    names = ["anna", "bert", "cleo", "dora"]
    for first, second, message in ((ids, names, "numbers came before, now names"), (names, ids, "names came before")):
        stab = make([SampleDropout(epsilon_db=0.1)], 4)
        stab.begin_epoch(0)
        stab(est, sources, mixture=mixture, ids=first)
        with pytest.raises(ValueError, match=message):
            stab(est, sources, mixture=mixture, ids=second)
    stab = make([SampleDropout(epsilon_db=0.1)], names)  # these have numbers
    stab.begin_epoch(0)
    for given in (ids, names, ids.tolist(), ids.numpy()):
        stab(est, sources, mixture=mixture, ids=given)


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
    with pytest.raises(ValueError, match=r"must be a list, got Reweighting: put it in brackets, \[...\]"):
        make(Reweighting())
    with pytest.raises(ValueError, match=r"must be objects, got the class Reweighting: write Reweighting\(\)"):
        make([Reweighting])
    with pytest.raises(ValueError, match="in the list once, got the same SampleDropout twice"):
        make([SampleDropout()] * 2)
    counting = make([], 4)
    counting.begin_epoch(0)
    with pytest.raises(ValueError, match="SwitchCounter goes by items: .* got None, or make it with count_switches"):
        counting(est, sources)
    stab = make([SampleDropout(epsilon_db=0.1)])
    with pytest.raises(StabError, match="SampleDropout needs the training items: give Stabilization items="):
        stab.begin_epoch(0)
    stab = make([Reweighting(alpha=0.1)])
    with pytest.raises(ValueError, match="a step must come between begin_epoch.. and end_epoch"):
        stab(est, sources)
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match="Reweighting goes by the improvement over the mixture: .* mixture=, got None"):
        stab(est, sources)
    with pytest.raises(ValueError, match="an epoch must have a step before it ends, got none"):
        stab.end_epoch()
    with pytest.raises(ValueError, match="steps must come between begin_epoch.. and end_epoch"):
        make().end_epoch()
    with pytest.raises(ValueError, match="nothing_left is about the last call"):
        make().nothing_left  # noqa: B018


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
    loop.stab.end_epoch()
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


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_logit_that_is_no_number_is_refused_unless_the_item_has_no_loss(wrong):
    class Wrong(Stabilizer):
        def logits(self, step):
            return torch.tensor([0.0, wrong, 0.0, 0.0])

    est, sources, *_ = batch()
    stab = make([Wrong()])
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match=r"Wrong.logits\(\) must be numbers, .* got NaN or plus infinity"):
        stab(est, sources)
    sources[1] = 0.0
    assert stab(est, sources).isfinite()


@pytest.mark.parametrize("mixture", [torch.zeros(4, 1, 99), torch.zeros(4, 99), torch.zeros(100), torch.zeros(1, 100)])
def test_a_mixture_of_another_shape_is_refused(mixture):
    est, sources, *_ = batch()
    stab = make()
    stab.begin_epoch(0)
    with pytest.raises(ValueError, match=r"mixture must be a tensor \[B, T\] of shape \[4, 100\], as targets "):
        stab(est, sources, mixture=mixture)
    with pytest.raises(ValueError, match=r"broken must be a bool tensor of shape \[4\]"):
        stab(est, sources, broken=torch.zeros(4))


def test_a_refused_step_leaves_nothing_behind():
    """What the step needs is looked at before a stabilizer writes anything."""
    est, sources, mixture, ids = batch()
    dropout = SampleDropout(epsilon_db=0.1)
    stab = make([dropout, Reweighting(alpha=0.1)], 4)
    stab.begin_epoch(0)
    for kwargs in ({"ids": ids}, {"mixture": mixture}, {"ids": ids, "mixture": mixture, "figures": {"x": "y"}}):
        with pytest.raises(ValueError, match="mixture=, got None|ids=, got None|figures must be numbers"):
            stab(est, sources, **kwargs)
    assert dropout.bank is None
    assert stab.progress.n_calls == 0


def test_an_epoch_begins_and_ends_once():
    est, sources, *_ = batch()
    stab = make()
    for epoch in (None, -1, 0.5, True):
        with pytest.raises(ValueError, match="epoch must be a whole number from 0"):
            stab.begin_epoch(epoch)
    stab.begin_epoch(0)
    stab.begin_epoch(1)  # none had a step
    stab(est, sources)
    with pytest.raises(ValueError, match=r"epoch 1 has not ended after its 1 steps: call end_epoch\(\)"):
        stab.begin_epoch(2)
    stab.end_epoch()
    with pytest.raises(ValueError, match="steps must come between"):
        stab.end_epoch()
    stab.begin_epoch(2)
    stab(est, sources)
    stab.begin(None)  # another training with the same objects gives the epoch up
    stab.begin_epoch(0)


def test_figures_are_means_over_the_steps_that_give_them():
    est, sources, *_ = batch()
    stab = make()
    stab.begin_epoch(0)
    for figures in ({"a": 1.0, "b": torch.tensor([4])}, {"a": 3}, {}):
        stab(est, sources, figures=figures)
    ended = stab.end_epoch()
    assert (ended["a"], ended["b"]) == (2.0, 4.0)


def test_two_of_a_class_report_both():
    est, sources, mixture, ids = batch()
    sharp, flat = Reweighting(alpha=1.0), Reweighting(alpha=0.0)
    for parts in ([sharp, flat], [SampleDropout(0.0), SampleDropout(1.0)]):
        stab = make(parts, 4)
        stab.begin_epoch(0)
        stab(est, sources, mixture, ids)
        figures = stab.end_epoch()
        names = {name.removesuffix("_2") for name in figures if name.endswith("_2")}
        assert names in ({"effective_share", "weight_entropy", "top_weight"}, {"kept", "kept_first", "kept_same",
            "kept_improved", "kept_relaxed"})  # fmt: skip


def test_a_second_training_with_the_same_objects_keeps_what_they_remember():
    est, sources, mixture, ids = batch()
    parts = [SampleDropout(epsilon_db=0.0, keep_same=False), SwitchCounter()]
    first = make(parts, 4)
    first.begin_epoch(0)
    first(est, sources, mixture, ids)
    first.end_epoch()
    second = make(parts, 4)
    second.begin_epoch(0)
    second(est + 3 * torch.randn_like(est), sources, mixture, ids)
    figures = second.end_epoch()
    assert "switch_ratio" in figures
    assert figures["kept"] < 1
    for part in parts:
        with pytest.raises(StabError, match="trained on 4 items, these are 5|was saved with 4 for items"):
            make([part], 5)


@pytest.mark.parametrize("wrong", ["loss", "weights", "stabilizers", "items"])
def test_a_state_that_cannot_be_loaded_changes_nothing(wrong):
    est, sources, mixture, ids = batch()

    def trained(loss=None, items=4, parts=None):
        parts = [SampleDropout(epsilon_db=0.0)] if parts is None else parts
        stab = Stabilization(loss or ExactPITLossWrapper(pairwise_neg_sisdr), parts, items)
        stab.begin_epoch(0)
        stab(est, sources, mixture, ids)
        stab.end_epoch()
        return stab

    stab = trained()
    state = {
        "loss": lambda: trained(ProbPITLossWrapper(pairwise_neg_sisdr)).state_dict(),
        "weights": lambda: {**trained().state_dict(), "loss": {"weight": torch.ones(1)}},
        "stabilizers": lambda: trained(parts=[Reweighting()]).state_dict(),
        "items": lambda: trained(items=5).state_dict(),
    }[wrong]()
    before = stab.state_dict()
    with pytest.raises(StabError, match="saved with|does not fit|trained on"):
        stab.load_state_dict(state)
    after = stab.state_dict()
    assert str(after) == str(before)


def test_a_rank_may_have_an_empty_batch():
    """It takes part in the exchange, and gives nothing."""

    class Other(Comm):
        n_ranks = 2

        def gather(self, values):
            return torch.stack([values, torch.tensor([1.0, 4.0])[: len(values)].to(values)])

    est, sources, mixture, ids = (part[:0] for part in batch())
    for parts in ([], [SampleDropout(0.0)], [Reweighting(alpha=0.1)], [Reweighting(alpha=0.1, level="mixture")]):
        stab = make(parts, 4, comm=Other(), count_switches=False)
        stab.begin_epoch(0)
        loss = stab(est.requires_grad_(), sources, mixture, ids)
        loss.backward()
        assert loss == 0
        assert not stab.nothing_left


def test_another_number_of_layers_within_an_epoch_is_refused():
    est, sources, *_ = batch()
    stab = Stabilization(LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr)), items=4)
    stab.begin_epoch(0)
    stab(est.expand(2, *est.shape), sources, ids=range(4))
    with pytest.raises(ValueError, match="as many layers in every step of an epoch, got 2, now 1"):
        stab(est.expand(1, *est.shape), sources, ids=range(4))


def test_of_several_microphones_the_first_is_what_improvements_are_measured_against():
    est, sources, mixture, ids = batch()
    several = torch.stack([mixture, torch.randn(4, 100)], 1)
    losses = []
    for given in (mixture, mixture.unsqueeze(1), several):
        stab = make([Reweighting(alpha=0.3)], 4)
        stab.begin_epoch(0)
        losses.append(stab(est.requires_grad_(), sources, mixture=given, ids=ids))
    assert losses[0].isfinite()
    assert losses[0] == losses[1] == losses[2]
    several[2, 1, 7] = torch.nan  # the model heard it
    stab = make(items=4)
    stab.begin_epoch(0)
    stab(est, sources, mixture=several, ids=ids)
    assert stab.end_epoch()["nonfinite_items"] == 1


@pytest.mark.parametrize("value", [1.0, "x", torch.zeros(3), torch.tensor(1)])
def test_a_damaged_sum_is_refused(value):
    with pytest.raises(ValueError, match="the saved sum 'loss' must be a number, got"):
        EpochSums().load_state_dict({"loss": value})


@pytest.mark.parametrize("name", ["previous", "current"])
def test_damaged_assignments_are_refused(name):
    state = {"rows": [], "previous": None, "fingerprint": "", name: "x"}
    with pytest.raises(ValueError, match=rf"the saved assignments '{name}' must be a table \[K, N, J\], got 'x'"):
        SwitchCounter().load_state_dict(state)
