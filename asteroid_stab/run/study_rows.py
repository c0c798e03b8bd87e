"""Rows of a study: what a ``.rows`` file says, and which rows start from others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.types import Quote, QuotedString

from asteroid_stab.errors import StabError
from asteroid_stab.paths import check_name
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.overrides import is_path, path_in, read

OUT, SEED = "{out}", "{seed}"
_BLANK = re.compile(r"[ \t]*")
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PIECES = re.compile(rf"({_QUOTED})")
_WORD = re.compile(rf"(?:[^ \t'\"]|{_QUOTED})+")
_NAME = re.compile(r"(?!\.)[^/'\"{}\\]+")
_STARTS_FROM = re.compile(r"\{out\}/([^/'\"\],}]+)/(\{seed\}|\d+)(?![^/'\"\],}])")
_QUOTES = {"'": "single", '"': "double"}
_OURS = ("run_dir", "resume")


class Row(NamedTuple):
    """A line of a rows file: ``NAME RECIPE [OVERRIDES]``.

    Attributes:
        name: the row's name, which is that of its folder in the study.
        recipe: the recipe.
        words: overrides, with ``{out}`` for the folder of the study and ``{seed}`` for the seed.
        at: file and line, for messages.
    """

    name: str
    recipe: str
    words: tuple[str, ...]
    at: str

    @contextmanager
    def named(self) -> Iterator[None]:
        """Names the row, with file and line, in the errors of a block."""
        try:
            yield
        except StabError as error:
            raise StabError(f"{self.at}: row {self.name!r}: {error}") from error


def split_words(line: str) -> list[str]:
    """Returns the words of a line; blanks between quotes do not separate, and the quotes stay, as Hydra reads them.

    Raises:
        StabError: a quote is not closed.

    Example:
        >>> split_words("a  b/c x='d e' y=[f,g] ")
        ['a', 'b/c', "x='d e'", 'y=[f,g]']
    """
    words, at = [], _end(_BLANK, line, 0)
    while at < len(line):
        end = _end(_WORD, line, at)
        if end < len(line) and line[end] in "'\"":
            raise StabError(
                f"the quote {line[end]} in {line[at:].split()[0]!r} is not closed; a quote within a value needs quotes "
                "of the other kind around all of the value"
            )
        words.append(line[at:end])
        at = _end(_BLANK, line, end)
    return words


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    """Where a match that begins at a place of a line ends; the place itself where there is none."""
    found = pattern.match(line, at)
    return at if found is None else found.end()


def read_rows(files: Sequence[Path]) -> list[Row]:
    """Returns the rows of some files, in their order; a row that several files have alike is taken once.

    A line that begins with ``#`` is a comment.

    Raises:
        StabError: a file cannot be read or has no rows; or a line is no row, or has the name of another one.
    """
    rows: dict[str, Row] = {}
    for file in files:
        found: dict[str, Row] = {}
        for number, line in enumerate(_text(file).split("\n"), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            row = _row(line, f"{file}:{number}")
            if row.name in found:
                line_before = found[row.name].at.rpartition(":")[2]
                raise StabError(f"{row.at}: line {line_before} has a row {row.name!r} already")
            found[row.name] = row
            before = rows.setdefault(row.name, row)
            if before[1:3] != row[1:3]:
                raise StabError(f"{row.at}: row {row.name!r} is another one in {before.at}")
        if not found:
            raise StabError(f"{file} has no rows: a line is NAME RECIPE [OVERRIDES]")
    return list(rows.values())


def _text(file: Path) -> str:
    try:
        if not file.is_file():  # a pipe would be waited for
            raise StabError(f"there is no rows file {str(file)!r}")
        text = file.read_text(encoding="utf-8")
        if "\0" in text:  # no word of a command can hold one
            raise StabError(f"{str(file)!r} is no readable rows file: it holds null characters")
        return text
    except (OSError, UnicodeDecodeError) as error:
        raise StabError(f"{str(file)!r} is no readable rows file: {error}") from error


def _row(line: str, at: str) -> Row:
    """Returns the row of a line.

    Raises:
        StabError: it is none.
    """
    try:
        name, *rest = split_words(line)
        if not rest:
            raise StabError(f"row {name!r} has no recipe: a line is NAME RECIPE [OVERRIDES]")
        taken = [StudyLayout("").record.name, StudyLayout("").jobs.name]
        if not _NAME.fullmatch(name) or name in taken:
            others = " or ".join(taken)
            raise StabError(f"a row's name must be one of a folder, without quotes, and not {others}, got {name!r}")
        check_words(rest[1:])
        return Row(check_name(name, "a row's name"), rest[0], tuple(rest[1:]), at)
    except StabError as error:
        raise StabError(f"{at}: {error}") from error


def check_words(words: Sequence[str]) -> None:
    """Checks that words are overrides of a recipe, and name no run folder.

    Raises:
        StabError: a word is something else.
    """
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise StabError(f"an override must be KEY=VALUE, got {word!r}; a comment needs a line that begins with #")
        if (key := read(filled(word, "out", 1)).key_or_group) in _OURS:
            raise StabError(f"a study names the run folders itself: {key}= must not be given, got {word!r}")


def filled(word: str, out: str, seed: int) -> str:
    """Returns a word with folder and seed in their places; quotes of the folder's name are escaped between quotes.

    Example:
        >>> print(filled("init.path={out}/a/{seed}", "it's", 1), filled("x='{out}'", "it's", 1))
        init.path=it's/a/1 x='it\\'s'
    """
    pieces = _PIECES.split(word.replace(SEED, str(seed)))
    return "".join(_filled(piece, out) if i % 2 else piece.replace(OUT, out) for i, piece in enumerate(pieces))


def _filled(text: str, out: str) -> str:
    """A text in quotes with the folder in its place."""
    if OUT not in text:
        return text
    return QuotedString(str(read(f"x={text}").value()).replace(OUT, out), Quote[_QUOTES[text[0]]]).with_quotes()


def starts_from(words: Sequence[str], out: str, seed: int) -> list[tuple[str, int]]:
    """Returns row and seed of the runs in a study's folder that the overrides of a run name.

    Args:
        words: the overrides.
        out: the folder of the study.
        seed: the run's seed.

    Example:
        >>> starts_from(["init.path={out}/a/{seed}", "loss.run=s/b/3", "optim.lr=1"], "s", 1)
        [('a', 1), ('b', 3)]
    """
    found: dict[tuple[str, int], None] = {}
    home = Path(os.path.abspath(out))
    for word in words:
        for name, number in _STARTS_FROM.findall(word):
            found[name, seed if number == SEED else int(number)] = None
        change = read(filled(word, out, seed))
        if change.is_delete() or not is_path(change.key_or_group) or "${" in word:
            continue
        place = Path(os.path.abspath(path_in(change)))
        if place.is_relative_to(home):
            parts = place.relative_to(home).parts
            if len(parts) > 1 and parts[1].isdecimal():
                found[parts[0], int(parts[1])] = None
    return list(found)
