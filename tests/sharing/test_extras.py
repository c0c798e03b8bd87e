"""Packages that only sharing needs."""

import json

import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.sharing.extras import needed


def test_a_package_that_is_there_is_imported():
    assert needed("json", "a test", "hub") is json


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(StabError, match=r"push needs no_such_package .*pip install 'asteroid-stab\[hub\]'"):
        needed("no_such_package", "push", "hub")
