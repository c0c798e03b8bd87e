"""The search of a GPU against SciPy's: the same program, built by a C compiler, and on a GPU itself."""

import ctypes
import shutil
import subprocess
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from asteroid_stab.losses import assignment, hungarian
from asteroid_stab.losses.assignment import best_permutation
from asteroid_stab.losses.hungarian import MAX_ON_DEVICE, assign_on_device, kernel_source

COMPILER = shutil.which("cc") or shutil.which("gcc")
ON_A_CPU = "static struct {{ long long x; }} blockIdx;\n{}\nvoid at(long long item) {{ blockIdx.x = item; }}\n"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Returns a search for a number of sources, of costs [B, J_est, J_src]."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("hungarian")

    def built(n_src):
        source, library = folder / f"of_{n_src}.c", folder / f"of_{n_src}.so"
        source.write_text(ON_A_CPU.format(kernel_source(n_src, prefix="")))
        subprocess.run([COMPILER, "-O1", "-ffp-contract=off", "-shared", "-fPIC", source, "-o", library], check=True)
        program = ctypes.CDLL(str(library))

        def search(cost):
            cost = np.ascontiguousarray(cost, np.float64)
            perms = np.empty(cost.shape[:2], np.int64)
            for item in range(len(cost)):
                program.at(ctypes.c_longlong(item))
                program.assign(ctypes.c_void_p(cost.ctypes.data), ctypes.c_void_p(perms.ctypes.data))
            return torch.from_numpy(perms)

        return search

    return built


def costs(n_src, seed):
    """Costs of many kinds: numbers, small integers with many ties, equal sources, equal estimates, constants, dB."""
    random = np.random.default_rng((seed, n_src))
    shape = (40, n_src, n_src)
    plain, db = random.standard_normal(shape), np.float32(random.normal(-10, 8, shape)).astype(np.float64)
    equal = random.standard_normal(shape)
    equal[:, :, n_src // 2 :] = equal[:, :, :1]
    alike = random.standard_normal(shape)
    alike[:, n_src // 2 :] = alike[:, :1]
    ties = [random.integers(0, most, shape).astype(np.float64) for most in (2, 3, 5)]
    halves = random.integers(0, 4, shape) / 3 - 20.0
    lost = np.where(random.random((40, 1, n_src)) < 0.4, 0.0, db)
    return np.concatenate([plain, db, equal, alike, *ties, halves, lost, np.zeros((1, n_src, n_src))])


@pytest.mark.parametrize("n_src", [1, 2, 4, 5, 10, 20, MAX_ON_DEVICE])
def test_it_gives_what_scipy_gives_ties_included(build, n_src):
    cost = costs(n_src, seed=0)
    wanted = np.stack([linear_sum_assignment(item.T)[1] for item in cost])
    assert torch.equal(build(n_src)(cost), torch.from_numpy(wanted))


@pytest.mark.parametrize("n_src", [4, 7])
def test_the_way_of_a_gpu_gives_the_permutations_of_the_cpu(build, monkeypatch, n_src):
    """Equal sources and sources without a loss included, which are put in order after the search."""
    pw = torch.from_numpy(costs(n_src, seed=1))
    pw[::7, :, 0] = float("nan")
    wanted = best_permutation(pw)
    search = build(n_src)
    monkeypatch.setattr(assignment, "readable", lambda values: False)
    monkeypatch.setattr(assignment, "assign_on_device", lambda cost: search(cost.numpy()))
    monkeypatch.setattr(assignment, "linear_sum_assignment", None)
    assert torch.equal(best_permutation(pw), wanted)


@pytest.mark.skipif(torch.version.cuda is None, reason="a torch without CUDA has no NVRTC")
def test_torch_compiles_it():
    """NVRTC needs no GPU."""
    from torch.cuda._utils import _nvrtc_compile

    try:
        torch.cuda._utils._get_gpu_rtc_library()
    except OSError:
        pytest.skip("no NVRTC beside this torch")
    program, name = _nvrtc_compile(kernel_source(20), "assign", "90")
    assert name == "assign"
    assert len(program) > 1000


def test_other_devices_leave_it_to_scipy():
    assert assign_on_device(torch.zeros(2, 4, 4)) is None


def test_where_it_cannot_be_compiled_the_cpu_searches_and_a_warning_says_why(monkeypatch):
    def refuse(*args):
        raise OSError("no NVRTC here")

    monkeypatch.setattr(torch.cuda, "_compile_kernel", refuse)
    with pytest.warns(UserWarning, match="assignments of 5 sources are searched on the CPU.*no NVRTC here"):
        assert hungarian._kernel.__wrapped__(5, torch.device("cuda", 0)) is None


@pytest.mark.parametrize("is_right", [True, False])
def test_a_program_that_gives_other_permutations_is_not_used(build, monkeypatch, is_right):
    def compiled(source, name):
        def kernel(grid, block, args):
            cost, perms = args
            perms.copy_(build(cost.shape[1])(cost.numpy()) if is_right else torch.arange(cost.shape[1]))

        return kernel

    monkeypatch.setattr(torch.cuda, "_compile_kernel", compiled)
    with nullcontext() if is_right else pytest.warns(UserWarning, match="its permutations are not SciPy's"):
        assert (hungarian._kernel.__wrapped__(5, torch.device("cpu")) is not None) == is_right


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("n_src", [4, 5, 10, 20, MAX_ON_DEVICE])
def test_a_gpu_gives_what_scipy_gives_and_never_waits(n_src):
    cost = torch.from_numpy(costs(n_src, seed=2))
    on_gpu = cost.cuda()
    assign_on_device(on_gpu)  # compiles
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = assign_on_device(on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    wanted = np.stack([linear_sum_assignment(item.T)[1] for item in cost.numpy()])
    assert torch.equal(found.cpu(), torch.from_numpy(wanted))
