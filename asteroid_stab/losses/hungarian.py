"""The Hungarian algorithm on a GPU, which gives the permutations that SciPy gives, ties included, without a wait."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

MAX_ON_DEVICE = 32  # sources; one thread solves an item in O(n³), and above that the CPU is sooner done

# Plain C, with two names that CUDA and HIP know. Source after source gets an estimate by the shortest augmenting path
# (Crouse, 2016, with the potentials of the sources and of the estimates). Which of several equal paths is taken decides
# ties, and SciPy's rule is kept: estimates are looked at from the last to the first, the place of one that is done is
# taken by the last in the list, and among the nearest ones the last that is free wins, else the first.
_SOURCE = """
{
    const double *cost = costs + (long long)blockIdx.x * N * N;  /* cost[estimate * N + source] */
    long long *estimate_of = perms + (long long)blockIdx.x * N;
    double of_source[N], of_estimate[N], distance[N];
    int source_of[N], before[N], open[N], done[N];
    for (int k = 0; k < N; ++k) {
        of_source[k] = of_estimate[k] = 0.0;
        source_of[k] = -1;
        estimate_of[k] = -1;
    }
    for (int start = 0; start < N; ++start) {
        int n_open = N, n_done = 0, source = start, end = -1;
        double length = 0.0;
        for (int k = 0; k < N; ++k) {
            open[k] = N - 1 - k;
            distance[k] = FAR;
        }
        while (end < 0) {
            int nearest = 0;
            double least = FAR;
            for (int k = 0; k < n_open; ++k) {
                const int e = open[k];
                const double reached = length + cost[e * N + source] - of_source[source] - of_estimate[e];
                if (reached < distance[e]) {
                    distance[e] = reached;
                    before[e] = source;
                }
                if (distance[e] < least || (distance[e] == least && source_of[e] < 0)) {
                    least = distance[e];
                    nearest = k;
                }
            }
            const int e = open[nearest];
            length = least;
            open[nearest] = open[--n_open];
            done[n_done++] = e;
            if (source_of[e] < 0)
                end = e;
            else
                source = source_of[e];
        }
        of_source[start] += length;
        for (int k = 0; k < n_done; ++k) {
            const int e = done[k];
            const double change = length - distance[e];
            if (source_of[e] >= 0)
                of_source[source_of[e]] += change;
            of_estimate[e] -= change;
        }
        for (int e = end, s = -1; s != start;) {
            s = before[e];
            source_of[e] = s;
            const int next = (int)estimate_of[s];
            estimate_of[s] = e;
            e = next;
        }
    }
}
"""


def kernel_source(n_src: int, prefix: str = 'extern "C" __global__') -> str:
    """Returns the program that solves one item in each block, for ``n_src`` sources.

    Args:
        n_src: number of sources.
        prefix: what comes before the function's name and type, which differs between compilers.
    """
    head = f"#define N {n_src}\n#define FAR 1e308\n{prefix} void assign(const double *costs, long long *perms)"
    return head + _SOURCE


def assign_on_device(cost: Tensor) -> Tensor | None:
    """Returns the permutations of least cost, computed where ``cost`` is; None where that cannot be done.

    Args:
        cost: finite costs of giving an estimate to a source.

    Shapes:
        cost: [B, J_est, J_src]; returns: [B, J] int64.

    References:
        Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Transactions on Aerospace and Electronic
        Systems 52 (4), 2016, the algorithm of ``scipy.optimize.linear_sum_assignment``.
    """
    n_src = cost.shape[1]
    if cost.device.type != "cuda" or n_src > MAX_ON_DEVICE:
        return None
    with torch.cuda.device(cost.device):
        kernel = _kernel(n_src, cost.device)
        if kernel is None:
            return None
        return _solved(kernel, cost)


@functools.lru_cache(maxsize=64)
def _kernel(n_src: int, device: torch.device) -> Callable[..., None] | None:
    """The program, compiled for the present device, ``device``; None, with a warning, where torch cannot compile it."""
    cuda: Any = torch.cuda
    try:
        kernel = cuda._compile_kernel(kernel_source(n_src), "assign")
        _check(lambda costs: _solved(kernel, costs.to(device)).cpu(), n_src)
    except (AttributeError, ImportError, OSError, RuntimeError) as error:
        warnings.warn(
            f"assignments of {n_src} sources are searched on the CPU, for which the GPU waits in every step, because "
            f"its own search cannot be used: {error}",
            stacklevel=2,
        )
        return None
    return kernel


def _solved(kernel: Callable[..., None], cost: Tensor) -> Tensor:
    """The permutations [B, J] of costs [B, J, J], which the program writes."""
    n_items, n_src = cost.shape[:2]
    perms = torch.empty(n_items, n_src, dtype=torch.int64, device=cost.device)
    if n_items:
        kernel(grid=(n_items, 1, 1), block=(1, 1, 1), args=[cost.to(torch.float64).contiguous(), perms])
    return perms


def _check(solve: Callable[[Tensor], Tensor], n_src: int) -> None:
    """Checks once that a program for a GPU that nobody has tried yet gives SciPy's permutations, half of them of ties.

    Raises:
        RuntimeError: it gives others.
    """
    costs = torch.randint(0, 3, (16, n_src, n_src), generator=torch.Generator().manual_seed(0)).double()
    costs[::2] += torch.rand(costs[::2].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = torch.tensor(np.stack([linear_sum_assignment(cost.T.numpy())[1] for cost in costs]))
    if not torch.equal(solve(costs), wanted):
        raise RuntimeError("its permutations are not SciPy's")
