"""Signals for the tests of the losses."""

import torch

from asteroid_stab.losses.assignment import reorder


def noisy_batch(n_src=3, n_items=4, shape=(120,), noise=0.4, seed=0, dtype=torch.float32):
    """Returns noisy targets in an order of each item's own, and the targets."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randn(n_items, n_src, *shape, generator=random, dtype=torch.float64)
    perms = torch.stack([torch.randperm(n_src, generator=random) for _ in range(n_items)])
    est = reorder(targets, perms) + noise * torch.randn(targets.shape, generator=random, dtype=torch.float64)
    return est.to(dtype), targets.to(dtype)
