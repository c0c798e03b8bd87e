"""Files of a run folder that somebody has changed are named, with the entry that is wrong."""

import pytest

from asteroid_stab.report.shapes import EXAMPLES, NUMBER, SUMMARY, VERSIONS, misfit

SUMMARY_OF_ONE = {"command": "x", "metrics": {"si_sdr": {"mean": 1.5, "std": None}}, "failures": {"stoi": ["a"]}}


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (SUMMARY_OF_ONE, SUMMARY),
        ({**SUMMARY_OF_ONE, "split": 1, "variant": None, "figures": {"n": {"label": "words"}}}, SUMMARY),
        ({}, VERSIONS),
        ({"packages": {"a": "1"}, "git": None, "n_parameters": 3}, VERSIONS),
        ([], EXAMPLES),
        ([{"kind": "best", "name": "a", "si_sdr_i": 2.0}], EXAMPLES),
    ],
)
def test_what_fits(value, shape):
    assert misfit(value, shape) == ""


@pytest.mark.parametrize(
    ("value", "shape", "fault"),
    [
        ({**SUMMARY_OF_ONE, "metrics": {"si_sdr": {"mean": "x"}}}, SUMMARY, "metrics.si_sdr.mean must be int or float"),
        ({**SUMMARY_OF_ONE, "failures": {"stoi": "ab"}}, SUMMARY, "failures.stoi must be a list, got 'ab'"),
        ({"command": "x"}, SUMMARY, "metrics is missing"),
        ([], SUMMARY, "it must be a mapping, got []"),
        ({"git": "x"}, VERSIONS, "git must be dict or null, got 'x'"),
        ({"n_parameters": True}, VERSIONS, "n_parameters must be int or null, got True"),
        ([{"kind": ["best"], "name": "a"}], EXAMPLES, "it[0].kind must be one of best, median, worst, got ['best']"),
        ("x" * 100, NUMBER, "it must be int or float or null, got 'xxx"),
    ],
)
def test_what_does_not_fit(value, shape, fault):
    assert misfit(value, shape).startswith(fault)
    assert len(misfit(value, shape)) < 120
