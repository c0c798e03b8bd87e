"""Errors that a user reads: where an argument stands, and some of many names."""

import pickle

import pytest

from asteroid_stab.errors import StabError, cause, some, within


def test_an_owner_adds_where_the_argument_stands():
    with pytest.raises(StabError) as caught, within("data"), within("base"):
        raise StabError("{argument} is not set; set {argument}=FOLDER", argument="root")
    assert str(caught.value) == "data.base.root is not set; set data.base.root=FOLDER"
    assert caught.value.argument == "data.base.root"
    copied = pickle.loads(pickle.dumps(caught.value))  # a loader's worker sends it
    copied.move_to("more")
    assert str(copied) == "more.data.base.root is not set; set more.data.base.root=FOLDER"


def test_an_error_about_no_argument_stays_as_it_is():
    with pytest.raises(StabError, match=r"^data.csv has no rows \{argument\}$"), within("data"):
        raise StabError("data.csv has no rows {argument}")
    with pytest.raises(ValueError, match="^other$"), within("data"):
        raise ValueError("other")


@pytest.mark.parametrize(("n", "text"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2, ..."), (9, "0, 1, 2, ...")])
def test_three_names_are_shown(n, text):
    assert some([str(i) for i in range(n)]) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("\n  \x1b[1mdo not\x1b[0m do this\nat all"), "RuntimeError: do not do this"),
        (KeyError(3), "KeyError: 3"),
        (ValueError(""), "ValueError"),
    ],
)
def test_cause_is_one_line_without_terminal_codes(error, text):
    assert cause(error) == text
