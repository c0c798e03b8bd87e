"""The fused global norm against Asteroid's."""

import pytest
import torch
from asteroid.masknn.norms import GlobLN

from asteroid_stab.masknn import FusedGlobLN


@pytest.mark.parametrize("shape", [(4, 6, 50), (1, 6, 1), (3, 6, 7, 5)])
def test_values_and_gradients_are_the_hosts(shape):
    torch.manual_seed(0)
    theirs, mine = GlobLN(6).double(), FusedGlobLN(6).double()
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), mine.parameters(), strict=True):
            q.copy_(p.copy_(torch.randn_like(p)))
    x = torch.randn(shape, dtype=torch.float64) + 3.0
    results = []
    for norm in (theirs, mine):
        given = x.clone().requires_grad_()
        out = norm(given)
        results.append((out, *torch.autograd.grad((out * x.cos()).sum(), [given, norm.gamma, norm.beta])))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
