"""Rows files: their words, their quotes, and what is refused."""

import random
import re
from pathlib import Path

import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.run.overrides import path_in, read
from asteroid_stab.run.study_plan import plan
from asteroid_stab.run.study_rows import filled, read_rows, split_words, starts_from


@pytest.fixture
def rows_in(tmp_path):
    """Reads rows from texts, each in a file of its own: a.rows, b.rows, ..."""

    def read_texts(*texts):
        files = [tmp_path / f"{letter}.rows" for letter in "abc"[: len(texts)]]
        for file, text in zip(files, texts, strict=True):
            file.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_rows(files)

    return read_texts


def test_a_line_is_a_name_a_recipe_and_overrides(rows_in):
    rows = rows_in("# a note\n\none\tx/y  a.b=1 stabilizer=[dsd,reweight]   \r\n  # indented\ntwo z ~c\n")
    assert [row[:3] for row in rows] == [("one", "x/y", ("a.b=1", "stabilizer=[dsd,reweight]")), ("two", "z", ("~c",))]
    assert [Path(row.at).name for row in rows] == ["a.rows:3", "a.rows:5"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b c", ["a", "b", "c"]),
        ("x='a b' y", ["x='a b'", "y"]),
        ('x="it\'s" y', ['x="it\'s"', "y"]),
        (r"x='it\'s two' y", [r"x='it\'s two'", "y"]),
        (r"x=a\b y", [r"x=a\b", "y"]),
        ("x=[a,'b c',\"d'\"] y", ["x=[a,'b c',\"d'\"]", "y"]),
        ("x=${oc.env:A} y={z: 1}", ["x=${oc.env:A}", "y={z:", "1}"]),
        ("x=a\u00a0b", ["x=a\u00a0b"]),  # no blank for a shell either
        ("", []),
    ],
)
def test_blanks_separate_but_between_quotes(line, words):
    assert split_words(line) == words


@pytest.mark.parametrize("line", ["x='a b", 'x="a', "x=it's y", "x='a' y='", r"x='a\'"])
def test_a_quote_that_is_not_closed_is_refused(line):
    with pytest.raises(StabError, match=r"the quote ['\"] in .* is not closed; a quote within a value needs quotes"):
        split_words(line)


@pytest.mark.parametrize("out", ["o", "a b, c=d 'é' & ~", 'double " and \\ back', "{seed}"])
@pytest.mark.parametrize("word", ["init.path={out}/one/{seed}", "init.path='{out}/one/{seed}'", 'x="{out}/one/{seed}"'])
def test_the_folder_of_a_study_may_have_any_name(out, word):
    """Hydra reads it back as it is, between quotes and without."""
    change = read(filled(word, out, 7))
    assert (path_in(change) if "path" in word else change.value()) == f"{out}/one/7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one", r"a.rows:1: row 'one' has no recipe: a line is NAME RECIPE"),
        ("# a\none x/y\none x/z", r"a.rows:3: line 2 has a row 'one' already"),
        ("one x/y a=1 # b", r"a.rows:1: an override must be KEY=VALUE, got '#'; a comment needs a line"),
        ("one x/y a='1", r"a.rows:1: the quote ' in \"a='1\" is not closed"),
        ("one x/y a=[1", r"a.rows:1: the override 'a=\[1' cannot be read"),
        ("one x/y a=1,2", r"a.rows:1: the override 'a=1,2' has several values"),
        ("one x/y run_dir=z", r"a.rows:1: a study names the run folders itself: run_dir= must not be given"),
        ("one x/y resume=z", r"a.rows:1: a study names the run folders itself: resume= must not be given"),
        (
            "a/b x/y",
            r"a.rows:1: a row's name must be one of a folder, .*, and not study.json or slurm_jobs, got 'a/b'",
        ),
        (".. x/y", r"got '\.\.'"),
        ("study.json x/y", r"got 'study.json'"),
        ("'one' x/y", r"got \"'one'\""),
        ("o" * 300 + " x/y", r"a.rows:1: a row's name must have at most 255 bytes, got 300"),
        ("# nothing\n", r"a.rows has no rows: a line is NAME RECIPE"),
        ("", r"a.rows has no rows"),
        (b"\xff x/y", r"a.rows' is no readable rows file: 'utf-8'"),
        ("a x/y b=\0", r"a.rows' is no readable rows file: it holds null characters"),
    ],
)
def test_what_is_no_row_is_named_by_file_and_line(rows_in, text, message):
    with pytest.raises(StabError, match=message):
        rows_in(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StabError, match=re.escape(f"there is no rows file {str(tmp_path / 'no')!r}")):
        read_rows([tmp_path / "no"])


def test_files_may_share_a_row_that_is_the_same(rows_in):
    assert [row.name for row in rows_in("a x/y b=1\nc x/y", "d x/y\na x/y   b=1")] == ["a", "c", "d"]
    with pytest.raises(StabError, match=r"b.rows:1: row 'a' is another one in .*a.rows:1"):
        rows_in("a x/y b=1", "a x/y b=2")


def test_any_text_is_rows_or_is_refused_by_its_line(rows_in):
    """And what is taken can be planned, and is split where a shell splits it, if it has no quotes."""
    draw = random.Random(1)
    keys = ["a=", "init.path=", "data.root=", "+x.y=", "~a", "loss.run=", ""]
    pieces = ["a", "b", "\t", "'", '"', "\\", "=", "[", "]", "{", "}", ",", "{out}", "{seed}", "/", "$", "${"]
    pieces += ["${oc.env:A}", "@", ":", "\n", "1", "..", "é", "\x1b", "\u2028", "(", ")", "!", "null", "=s t/n/1"]
    refused, n_taken = [], 0
    for _ in range(300):
        words = [draw.choice(keys) + "".join(draw.choices(pieces, k=draw.randint(0, 5))) for _ in range(2)]
        text = f"n r {' '.join(words)}"
        try:
            rows = rows_in(text)
            plan(rows, [1], Path("s t"))
        except StabError as error:
            refused.append(str(error))
            continue
        n_taken += 1
        if not re.search("['\"]", text):
            assert [[row.name, row.recipe, *row.words] for row in rows] == [
                re.split("[ \t]+", line.strip(" \t")) for line in text.split("\n") if line.strip()
            ]
    assert n_taken > 20
    assert [error for error in refused if "a.rows" not in error] == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["init.path={out}/one/{seed}", "loss.run={out}/two/3"], [("one", 5), ("two", 3)]),
        (["init.path={out}/one/{seed}/best_model.pth"], [("one", 5)]),
        (["init.path='{out}/one/{seed}'"], [("one", 5)]),
        (["x.files=[{out}/one/{seed},{out}/two/{seed}]"], [("one", 5), ("two", 5)]),
        (["+x={run: {out}/one/{seed}}"], [("one", 5)]),
        (["init.path=sub/../s t/one/5", "x=s t/two/5"], [("one", 5)]),
        (["init.path=s t/one/5", "data.root=s t/data", "optim.lr=1"], [("one", 5)]),
        (["init.path=null", "data.root=${oc.env:NOISE}/one/1", "~data.root"], []),
        (["init.path={out}/one/{seed}", "loss.run={out}/one/{seed}"], [("one", 5)]),
    ],
)
def test_runs_that_a_run_starts_from_are_found(words, found):
    assert starts_from(words, "s t", 5) == found
