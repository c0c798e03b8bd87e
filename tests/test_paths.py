"""What users type is made plain at the door."""

from pathlib import Path, PureWindowsPath

import pytest

from asteroid_stab import paths
from asteroid_stab.errors import StabError
from asteroid_stab.paths import check_name, folder_names, inside, user_path


def test_home_is_home_and_the_rest_stays(monkeypatch):
    monkeypatch.setenv("HOME", "/people/ada")
    assert user_path("~/runs/a", "run_dir") == "/people/ada/runs/a"
    assert user_path("~", "run_dir") == "/people/ada"
    for text in ("a~b", "./~/x", "it's, a = [b] é", " a", Path("x/y")):
        assert user_path(text, "run_dir") == str(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--out needs a path, got nothing"),
        ("  ", "--out needs a path, got nothing"),
        ("a/" + "n" * 256, "of at most 4095 bytes and 255 in each name, got one of 258 bytes with 256 in a name"),
        ("é" * 128, "with 256 in a name"),
        ("a/" * 2500, "got one of 5000 bytes with 1 in a name"),
        ("a\0b", r"--out must be a path without null characters, got 'a\\x00b'"),
    ],
)
def test_what_is_no_path(text, message):
    with pytest.raises(StabError, match=message):
        user_path(text, "--out")


def test_names_of_files():
    assert check_name("a.csv", "the list") == "a.csv"
    with pytest.raises(StabError, match="the list must have at most 255 bytes, got 304: nnnn"):
        check_name("n" * 300 + ".csv", "the list")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "/dev", "a/b", "../a", "a/..", 7, None])
def test_what_is_no_subset(name):
    with pytest.raises(StabError, match="a subset must be the name of a folder, got "):
        folder_names(["dev", name], "a subset")


@pytest.mark.parametrize(
    "name", ["../x.wav", "a/../../x.wav", "/etc/x.wav", "..\\x.wav", "a\\..\\..\\x.wav", "\\x.wav"]
)
def test_a_path_that_leads_out_of_its_corpus(name):
    with pytest.raises(StabError, match="row 1 must be a path within the corpus, got "):
        inside(name, "row 1")
    assert inside("a/x..wav", "row 1") == "a/x..wav"


def test_a_path_that_windows_wrote_has_slashes():
    assert inside("dev-clean\\84\\a.flac", "row 1") == "dev-clean/84/a.flac"
    assert inside("dev-clean/84/a\\b.flac", "row 1") == "dev-clean/84/a\\b.flac"  # a letter of the name


@pytest.mark.parametrize("name", ["C:\\x.wav", "C:x.wav", "C:/x.wav", "a/..\\..\\x.wav", "\\\\host\\share\\x.wav"])
def test_a_path_that_leads_out_of_its_corpus_on_windows(name, monkeypatch):
    monkeypatch.setattr(paths, "PurePath", PureWindowsPath)
    with pytest.raises(StabError, match="row 1 must be a path within the corpus, got "):
        inside(name, "row 1")
    assert inside("a/b\\c.wav", "row 1") == "a/b\\c.wav"
    with pytest.raises(StabError, match="a subset must be the name of a folder, got "):
        folder_names([name], "a subset")
    assert folder_names(["dev\\", "dev/"], "a subset") == ["dev"]


def test_a_name_that_no_table_can_hold():
    with pytest.raises(StabError, match=r"run_dir must have a name in UTF-8, got 'a\\udcff': rename it"):
        user_path("a\udcff", "run_dir")
