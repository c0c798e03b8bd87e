"""Reading a stored config runs nothing, stays small, and refuses what no run has written."""

import os

import pytest
import yaml

from asteroid_stab.errors import StabError
from asteroid_stab.run.stored import parse_config, read_config

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))])


def test_plain_values_are_returned_as_they_are():
    config = {"data": {"root": "2024-05-01", "n": [1, 2.5, None, True], "é": "12:30"}, "seed": 1}
    assert parse_config(yaml.safe_dump(config, allow_unicode=True), "config.yaml") == config
    assert parse_config("lr: 1e-3\n", "config.yaml") == {"lr": 0.001}
    assert parse_config("", "config.yaml") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: ${oc.env:HOME}", r"data is the interpolation '\$\{oc.env:HOME\}', and runs have none"),
        ("data: {root: ['${hydra:runtime.cwd}']}", r"data.root\[0\] is the interpolation"),
        ("'${oc.env:HOME}': 1", "is the interpolation"),
        (BOMB, r"has the alias \*a0"),
        ("a: &a\n  b: *a", r"has the alias \*a"),
        ("[" * 500 + "]" * 500, "nested more than 30 deep"),
        ("a: !!python/object/apply:os.system ['touch x']", "readable config: .*python/object/apply"),
        ("a: !!python/name:os.system", "readable config"),
        ("a: !!binary aGk=", "a is of type bytes"),
        ("a: !!timestamp x", "readable config"),
        ("a: !!int x", "readable config"),
        ("a: !!set {b}", "config"),
        ("[a, b]", "it is no mapping"),
        ("a: 1\na: 2", "readable config: .*duplicate key"),
        ("a:\n\tb: 1", "readable config: .*cannot start any token"),
        ("a: [1", "readable config"),
        ("a: \x00", "readable config: .*not allowed"),
        ("? [a]\n: 1", "readable config"),
    ],
)
def test_what_no_run_has_written_is_refused(text, message):
    with pytest.raises(StabError, match=rf"(?s)'run/config.yaml' is no .*{message}"):
        parse_config(text, "run/config.yaml")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_bytes(b"a: \xff\xfe")
    with pytest.raises(StabError, match=r"config.yaml' is no readable config: .*utf-8"):
        read_config(file)
    file.write_text("a: " + "x" * 1_000_001)
    with pytest.raises(StabError, match=r"it has 1000004 bytes, more than 1000000"):
        read_config(file)
    with pytest.raises(StabError, match="is no readable config"):
        read_config(tmp_path / "none.yaml")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(StabError, match=r"config.yaml' is no readable config: it is no file"):
        read_config(tmp_path / "config.yaml")
