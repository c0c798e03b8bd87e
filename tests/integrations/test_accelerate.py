"""What Accelerate's loop needs beside the training that test_toolkits.py compares."""

import sys

import pytest
import toolkit_loops
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import SampleDropout

pytestmark = pytest.mark.toolkits


@pytest.fixture
def accelerator():
    from accelerate import Accelerator

    return Accelerator(cpu=True, gradient_accumulation_steps=2)


def test_exchange_on_one_process(accelerator):
    from asteroid_stab.integrations.accelerate import AcceleratorComm

    comm = AcceleratorComm(accelerator)
    assert (comm.rank, comm.n_ranks) == (0, 1)
    assert torch.equal(comm.gather(torch.tensor([1.0, 2.0])), torch.tensor([[1.0, 2.0]]))
    assert torch.equal(comm.gather(torch.tensor(3.0)), torch.tensor([3.0]))
    assert torch.equal(comm.reduce_max(torch.tensor([1, 2])), torch.tensor([1, 2]))


def test_items_are_asked_for_by_name(accelerator):
    from asteroid_stab.integrations.accelerate import stabilized

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(StabError, match="SampleDropout needs stable ids, but Stream is an iterable data set"):
        stabilized(accelerator, ExactPITLossWrapper(pairwise_neg_sisdr), [SampleDropout(0.0)], Stream())


def test_a_step_of_two_batches_counts_both(accelerator):
    """Of which the second has no item: the gradient of the first is not lost, and two empty ones move nothing."""
    from asteroid_stab.integrations.accelerate import stabilized

    net = toolkit_loops.loops.new_model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    stab = stabilized(accelerator, ExactPITLossWrapper(pairwise_neg_sisdr), optimizers=[optimizer])
    model, optimizer = accelerator.prepare(net, optimizer)
    noise, seen = torch.randn(2, 2, 800), []
    stab.begin_epoch(0)
    for sources in (noise, torch.zeros_like(noise), torch.zeros_like(noise), torch.zeros_like(noise)):
        with accelerator.accumulate(model):
            accelerator.backward(stab(model(noise.sum(1)), sources))
            optimizer.step()
            optimizer.zero_grad()
        seen.append(torch.cat([p.detach().flatten().clone() for p in net.parameters()]))
    start, first, still, empty = seen
    assert not torch.equal(start, first)
    assert torch.equal(first, still)
    assert torch.equal(still, empty)


def test_without_the_package_the_error_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.delitem(sys.modules, "asteroid_stab.integrations.accelerate", raising=False)
    with pytest.raises(ImportError, match=r"integrations.accelerate needs its toolkit .*: pip install accelerate$"):
        import asteroid_stab.integrations.accelerate  # noqa: F401
