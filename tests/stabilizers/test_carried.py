"""carry_state: the stabilization in an optimizer's state."""

import copy
import io

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import SampleDropout, Stabilization, carry_state

NOISE = torch.randn(4, 3, 64, generator=torch.Generator().manual_seed(0))


def new_training():
    net = torch.nn.Conv1d(1, 3, 9, padding=4)
    torch.manual_seed(0)
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [SampleDropout(0.0)], items=4)
    optimizer = torch.optim.Adam(net.parameters())
    carry_state(stab, optimizer)
    return net, stab, optimizer


def train(net, stab, optimizer, epoch):
    stab.begin_epoch(epoch)
    stab(net(NOISE.sum(1, keepdim=True)), NOISE, NOISE.sum(1), range(4)).backward()
    optimizer.step()
    return stab.end_epoch()


def test_a_file_of_the_optimizer_holds_both():
    net, stab, optimizer = new_training()
    train(net, stab, optimizer, 0)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    _, again, other = new_training()
    before = copy.deepcopy(state)
    other.load_state_dict(state)
    assert again.progress.clock == stab.progress.clock
    assert torch.equal(again.stabilizers[0].banks[0].perm, stab.stabilizers[0].banks[0].perm)
    assert state.keys() == before.keys()  # what was given is left as it was
    assert other.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()


def test_a_state_without_one_is_refused():
    _, _, optimizer = new_training()
    plain = torch.optim.Adam(torch.nn.Conv1d(1, 3, 9).parameters()).state_dict()
    with pytest.raises(
        StabError, match="this checkpoint was written without a stabilization, so the training cannot go on"
    ):
        optimizer.load_state_dict(plain)
