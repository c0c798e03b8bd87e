"""skip_empty_steps: weights stay where nothing was left, over one batch or several."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import Reweighting, Stabilization, skip_empty_steps

SILENT, HEARD = torch.zeros(2, 3, 64), torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))


def trained(batches, skip=True, optimizer_class=torch.optim.AdamW, n_optimizers=1):
    """The weights after each step, of which ``batches`` says the batches."""
    torch.manual_seed(0)
    net = torch.nn.Conv1d(1, 3, 9, padding=4)
    each = [[net.weight, net.bias]] if n_optimizers == 1 else [[net.weight], [net.bias]]
    optimizers = [optimizer_class(parameters, lr=0.1) for parameters in each]
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [Reweighting(alpha=0.1)])
    if skip:
        skip_empty_steps(stab, *optimizers)
    stab.begin_epoch(0)
    seen = []
    for batch in batches:
        for sources in batch:
            stab(net(HEARD.sum(1, keepdim=True)), sources, mixture=HEARD.sum(1)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        seen.append(torch.cat([p.detach().flatten().clone() for p in net.parameters()]))
    return seen


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.Adam, torch.optim.RMSprop])
def test_an_empty_step_moves_no_weight(optimizer_class):
    first, empty, after = trained([[HEARD], [SILENT], [HEARD]], optimizer_class=optimizer_class)
    assert torch.equal(first, empty)
    assert not torch.equal(empty, after)


def test_without_it_momentum_moves_weights():
    first, empty, _ = trained([[HEARD], [SILENT], [HEARD]], skip=False)
    assert not torch.equal(first, empty)


def test_a_step_of_several_batches_counts_all():
    first, half, empty = trained([[HEARD], [HEARD, SILENT], [SILENT, SILENT]])
    assert not torch.equal(first, half)
    assert torch.equal(half, empty)


def test_several_optimizers_step_or_stay_together():
    together = trained([[HEARD], [SILENT], [HEARD]], n_optimizers=2)
    for one, two in zip(trained([[HEARD], [SILENT], [HEARD]]), together, strict=True):
        assert torch.equal(one, two)


def test_it_takes_an_optimizer():
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr))
    with pytest.raises(ValueError, match="needs the optimizers that step, got none"):
        skip_empty_steps(stab)
