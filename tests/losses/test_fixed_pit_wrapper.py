"""Fixed labels, and the tables that they are read from."""

import numpy as np
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from asteroid.losses.mse import PairwiseMSE, singlesrc_mse

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import ExactPITLossWrapper, FixedPITLossWrapper
from asteroid_stab.run.assignments import read_labels, write_epoch, write_items
from asteroid_stab.run.plan import RunPlan

NAMES = ["first", "second, with a comma", "third", "fourth"]
CYCLE = [1, 2, 0]


@pytest.fixture
def run(tmp_path):
    """A run folder with two epochs: item 2 was not seen in the last, item 3 never."""
    write_items(tmp_path, NAMES, "abc")
    first = np.array([[[0, 1, 2], [0, 1, 2], [2, 0, 1], [-1, -1, -1]]], np.int8)
    last = np.array([[[0, 2, 1], CYCLE, [-1, -1, -1], [-1, -1, -1]]], np.int8)
    write_epoch(tmp_path, 0, np.concatenate([np.full_like(first, 0), first]))  # the last layer is what counts
    write_epoch(tmp_path, 1, np.concatenate([np.full_like(last, 0), last]))
    return tmp_path


def items(fingerprint="abc"):
    return Items(len(NAMES), NAMES, fingerprint)


def signals(n_items=4, n_src=3):
    random = torch.Generator().manual_seed(0)
    return torch.randn(n_items, n_src, 100, generator=random), torch.randn(n_items, n_src, 100, generator=random)


def test_labels_are_the_last_that_each_item_had(run):
    labels, fingerprint = read_labels(run)
    assert labels.tolist() == [[0, 2, 1], CYCLE, [2, 0, 1], [-1, -1, -1]]
    assert fingerprint == "abc"
    assert read_labels(run, 0)[0].tolist() == [[0, 1, 2], [0, 1, 2], [2, 0, 1], [-1, -1, -1]]
    assert (run / "assignments" / "items.csv").read_text().splitlines()[2] == '1,"second, with a comma"'


def test_faults_of_a_table_are_refused(run, tmp_path):
    with pytest.raises(StabError, match=r"epochs 0 to 1, got epoch 7 \(counted from 0\)"):
        read_labels(run, 7)
    (run / "assignments" / "epoch_0001.npy").write_bytes(b"no array")
    with pytest.raises(StabError, match=r"epoch_0001.npy is no readable table of assignments"):
        FixedPITLossWrapper(pairwise_neg_sisdr, run).check(RunPlan(3))
    with pytest.raises(StabError, match=r"nothing has no table of assignments"):
        FixedPITLossWrapper(pairwise_neg_sisdr, tmp_path / "nothing").check(RunPlan(3))
    with pytest.raises(ValueError, match="got epoch=3 without run"):
        FixedPITLossWrapper(pairwise_neg_sisdr, epoch=3)


def test_labels_are_small_and_those_of_earlier_checkpoints_are_taken(run):
    est, targets = signals()
    ids = torch.tensor([1, 2, 0, 3])
    wrapper, again = (FixedPITLossWrapper(pairwise_neg_sisdr, run) for _ in range(2))
    wanted = wrapper.assign(est, targets, ids=ids)
    state = wrapper.get_extra_state()
    assert state["labels"].dtype == torch.int8
    again.set_extra_state({**state, "labels": state["labels"].long()})  # as earlier versions saved them
    found = again.assign(est, targets, ids=ids)
    assert wanted.perm.dtype == found.perm.dtype == torch.int64
    assert torch.equal(found.perm, wanted.perm)


@pytest.mark.parametrize(
    ("loss_func", "pit_from", "pairwise"),
    [(pairwise_neg_sisdr, "pw_mtx", pairwise_neg_sisdr), (PairwiseMSE(), "pw_mtx", PairwiseMSE()),
     (singlesrc_mse, "pw_pt", PairwiseMSE())],
)  # fmt: skip
def test_the_loss_is_that_of_the_label(run, loss_func, pit_from, pairwise):
    est, targets = signals()
    wrapper = FixedPITLossWrapper(loss_func, run, pit_from=pit_from)
    assigned = wrapper.assign(est, targets, ids=torch.tensor([1, 2, 0, 3]))
    loss, perm = assigned
    best = ExactPITLossWrapper(pairwise).assign(est, targets).perm
    assert perm.tolist() == [CYCLE, [2, 0, 1], [0, 2, 1], best[3].tolist()]
    pw = pairwise(est, targets)
    for item in range(4):
        for source in range(3):
            assert loss[item, source].item() == pytest.approx(pw[item, perm[item, source], source].item(), rel=1e-4)
    assert assigned.figures["unlabelled"] == 0.25


def test_without_a_run_it_is_the_order_given():
    est, targets = signals()
    wrapper = FixedPITLossWrapper(pairwise_neg_sisdr)
    assert not wrapper.remembers_items
    for mode in (True, False):
        loss, perm = wrapper.train(mode).assign(est, targets)
        assert perm.tolist() == [[0, 1, 2]] * 4
        torch.testing.assert_close(loss, pairwise_neg_sisdr(est, targets).diagonal(dim1=1, dim2=2))


def test_a_checkpoint_keeps_the_labels_though_the_run_goes_on(run):
    first = FixedPITLossWrapper(pairwise_neg_sisdr, run)
    first.check(RunPlan(3))
    saved = first.state_dict()
    write_epoch(run, 2, np.zeros((1, 4, 3), np.int8))
    second = FixedPITLossWrapper(pairwise_neg_sisdr, run)
    second.check(RunPlan(3, resumed=True))
    second.load_state_dict(saved)
    second.bind(items())
    assert torch.equal(second.labels, first.labels)


def test_another_corpus_is_refused(run):
    wrapper = FixedPITLossWrapper(pairwise_neg_sisdr, run)
    assert wrapper.remembers_items
    wrapper.bind(items())
    with pytest.raises(
        StabError, match=r"of 4 items with fingerprint abc, the training set has 4 with fingerprint xyz"
    ):
        wrapper.bind(items("xyz"))
    est, targets = signals(n_src=2)
    with pytest.raises(ValueError, match=r"are for 3 sources, got 2"):
        wrapper.assign(est, targets, ids=torch.arange(4))
    with pytest.raises(StabError, match=r"are for 3 sources, got 2"):
        wrapper.check(RunPlan(2))
    with pytest.raises(ValueError, match=r"assign\(\) needs ids, got None"):
        wrapper(*signals())
