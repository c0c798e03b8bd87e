"""What hosted nets give, read as [B, J, T]; anything else is refused by its shape."""

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.models.hosted_outputs import EstimateReader, tolerated

B, J, T = 2, 3, 800
MIXTURE = torch.zeros(B, T)
EST = torch.arange(B * J * T, dtype=torch.float32).view(B, J, T)


def reader(outputs="sources_time", key=None, n_src=J, keep=None):
    return EstimateReader("my_pkg.Net", outputs, key, n_src, keep)


@pytest.mark.parametrize(
    ("outputs", "key", "output"),
    [
        ("sources_time", None, EST),
        ("time_sources", None, EST.mT),
        ("list", None, [*EST.unbind(1)]),
        ("list", None, tuple(EST.unbind(1))),
        ("sources_time", "est", {"est": EST, "mask": 3}),
        ("sources_time", 1, (None, EST)),
        ("list", -1, [0, [*EST.unbind(1)]]),
        ("time_sources", "y", {"y": EST.mT}),
    ],
)
def test_every_layout_is_read(outputs, key, output):
    assert torch.equal(reader(outputs, key).read(output, MIXTURE), EST)


def test_one_source_without_an_axis():
    assert torch.equal(reader("time", n_src=1).read(EST[:, 0], MIXTURE), EST[:, :1])


@pytest.mark.parametrize("n", [T - 100, T - 1, T, T + 1, T + 100])
def test_a_few_samples_are_padded_or_cut(n):
    est = reader().read(torch.ones(B, J, n), MIXTURE)
    assert est.shape == EST.shape
    assert est.sum() == B * J * min(n, T)


@pytest.mark.parametrize("n", [T // 2, T - 101, T + 101])
def test_more_samples_are_refused(n):
    with pytest.raises(StabError, match=rf"my_pkg.Net must give \[B, J, T\] with B=2, J=3, T=800, got \[2, 3, {n}\]"):
        reader().read(torch.ones(B, J, n), MIXTURE)
    assert tolerated(10**6) == 1024


@pytest.mark.parametrize(
    ("outputs", "output", "got"),
    [
        ("sources_time", EST[0], r"\[3, 800\]"),
        ("sources_time", EST[:1], r"\[1, 3, 800\]"),
        ("sources_time", EST[:, :2], r"\[2, 2, 800\]"),
        ("sources_time", EST.mT, r"\[2, 800, 3\] \(model=hosted: outputs=time_sources reads \[B, T, J\]\)"),
        ("sources_time", EST.unsqueeze(0), r"\[1, 2, 3, 800\]"),
        ("sources_time", EST.long(), r"\[2, 3, 800\] of torch.int64"),
        ("sources_time", EST.to(torch.complex64), r"\[2, 3, 800\] of torch.complex64"),
        ("sources_time", None, "NoneType"),
        ("sources_time", [EST], r"a list of \[2, 3, 800\] \(model=hosted: outputs=list stacks .*output_key=0 takes"),
        ("sources_time", {"est": EST}, r"a dict of 'est' \[2, 3, 800\] \(model=hosted: output_key=est takes one"),
        ("sources_time", {}, r"a dict of "),
        ("time_sources", EST, r"\[2, 3, 800\]"),
        ("list", EST, r"\[2, 3, 800\]"),
        ("list", [], "a list of "),
        ("list", [EST[:, 0], EST[:, 1]], r"a list of \[2, 800\], \[2, 800\]"),
        ("list", [EST[:, 0], EST[:, 1], EST[:, 1, :9]], r"a list of \[2, 800\], \[2, 800\], \[2, 9\]"),
        ("list", [EST[:, 0], EST[:, 1], 3], r"a list of \[2, 800\], \[2, 800\], int"),
        ("time", EST[:, 0], r"\[2, 800\]"),
    ],
)
def test_another_output_is_refused_by_its_shape(outputs, output, got):
    with pytest.raises(StabError, match=rf"my_pkg.Net must give .* with B=2, J=3, T=800, got {got}"):
        reader(outputs).read(output, MIXTURE)


def test_one_source_is_hinted_at():
    with pytest.raises(StabError, match=r"J=1, T=800, got \[2, 800\] \(model=hosted: outputs=time reads \[B, T\]\)"):
        reader(n_src=1).read(EST[:, 0], MIXTURE)


@pytest.mark.parametrize(
    ("key", "output", "message"),
    [
        ("est", EST, r"must give a dict with the key 'est' \(output_key\), got \[2, 3, 800\]"),
        ("est", {"wav": EST}, r"a dict with the key 'est' \(output_key\), got a dict of 'wav' \[2, 3, 800\]"),
        (2, (EST, None), r"a tuple with a position 2 \(output_key\), got a tuple of \[2, 3, 800\], NoneType"),
        (0, {0: EST}, r"a tuple with a position 0 \(output_key\), got a dict"),
    ],
)
def test_a_key_that_is_not_there_is_named(key, output, message):
    with pytest.raises(StabError, match=message):
        reader(key=key).read(output, MIXTURE)


def test_the_functions_own_fault_is_the_functions():
    given = reader({"_target_": "torch.squeeze", "_partial_": True})
    given.build("a test")
    with pytest.raises(StabError, match=r"torch.squeeze must give \[B, J, T\] with .*got \[3, 800\]"):
        given.read(EST[:1], MIXTURE)


def test_some_outputs_are_kept():
    given = reader(n_src=2, keep=[2, 0])
    assert torch.equal(given.read(EST, MIXTURE), EST[:, [2, 0]])
    with pytest.raises(StabError, match=r"J=2, T=800, got \[2, 2, 800\]"):
        reader(n_src=2, keep=[2, 0]).read(EST[:, :2], MIXTURE)
