"""Names of packages that come with this one, and of none that does not."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.required import import_names, needed, required_packages


def test_requirements_and_theirs_by_the_names_of_their_imports():
    found = required_packages()
    assert {"asteroid_stab", "torch", "yaml", "soundfile", "pb_bss_eval", "dateutil", "pytorch_lightning"} <= found
    assert {"pandas", "sympy", "torchaudio", "numpy", "scipy", "six"} <= found, "those that list no names too"


def test_extras_and_what_stands_beside_are_left_out():
    assert not {"pytest", "ruff", "mypy", "wandb", "mlflow", "speechbrain"} & required_packages()


def test_names_are_read_off_the_files_where_they_are_not_listed(tmp_path):
    about = tmp_path / "some_thing-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: some-thing\nVersion: 1.0\n")
    files = [
        "thing/__init__.py",
        "thing/deep/a.py",
        "alone.py",
        "fast.abi3.so",
        "../../bin/run",
    ]
    for file in files[:-1]:  # Python 3.12 and later leave out what is not there
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in [*files, "__pycache__/alone.pyc"]))
    distribution = metadata.Distribution.at(Path(about))
    assert import_names(distribution) == {"thing", "alone", "fast"}
    (about / "top_level.txt").write_text("listed\n")
    assert import_names(distribution) == {"listed"}


def test_a_package_that_is_there_is_imported():
    assert needed("json", "a test", "hub") is json


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(StabError, match=r"push needs no_such_package .*pip install 'asteroid-stab\[hub\]'"):
        needed("no_such_package", "push", "hub")
