"""Objects from plain values."""

import functools

import pytest
import torch
from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.models.targets import build_target, check_extent, plain_values


def test_nested_objects_are_built():
    built = build_target(
        {
            "_target_": "torch.nn.Sequential",
            "_args_": [
                {"_target_": "torch.nn.Conv1d", "in_channels": 1, "out_channels": 2, "kernel_size": 3},
                {"_target_": "torch.nn.ReLU", "_convert_": "all"},
            ],
        },
        "a test",
    )
    assert [type(part) for part in built] == [nn.Conv1d, nn.ReLU]
    kept = build_target(
        {"a": [1, {"b": None}], "c": {"_target_": "torch.nn.PReLU", "_partial_": True, "init": 0.5}}, ""
    )
    assert kept["a"] == [1, {"b": None}]
    assert isinstance(kept["c"], functools.partial)
    assert kept["c"]().weight.item() == 0.5


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"_target_": "no_package.Net"},
            r"a test names no_package.Net, which cannot be imported here \(ModuleNotF",
        ),
        ({"_target_": "torch.nn"}, "a test names torch.nn, a module, which cannot be called"),
        (
            {"_target_": "torch.nn.ReLU", "_recursive_": False},
            "_recursive_ of torch.nn.ReLU must be one of _target_, _par",
        ),
    ],
)
def test_what_cannot_be_built_is_named(node, message):
    with pytest.raises(StabError, match=message):
        build_target(node, "a test")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [torch.zeros(1)]}, r"args.a\[0\] must be a number, text, None, .*got a Tensor"),
        ({"a": float("nan")}, r"args.a must be a number, .*got nan"),
        ({"a": {3: 4}}, "the keys of args.a must be text, got 3"),
        ({"a": nn.ReLU}, "args.a must be a number, .*got a type"),
    ],
)
def test_what_no_file_keeps_is_refused(value, message):
    with pytest.raises(StabError, match=message):
        plain_values(value, "args")


def test_arguments_without_an_end_are_refused():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(StabError, match="a test has arguments of its model that are nested more than 30 deep"):
        check_extent({"a": deep}, "a test")
    many = [1] * 9990
    check_extent({"a": many, "b": {"c": (2, [3])}}, "a test")
    for value in ({"a": many, "b": many}, [[many] * 100] * 100, [{}] * 10**6):
        with pytest.raises(StabError, match="a test has more than 10000 values in the arguments of its model"):
            check_extent(value, "a test")


def test_plain_values_are_copied():
    given = {"a": (1, 2.5, True, None, "x"), "b": {"c": []}}
    got = plain_values(given, "args")
    assert got == {"a": [1, 2.5, True, None, "x"], "b": {"c": []}}
    assert got["b"] is not given["b"]
