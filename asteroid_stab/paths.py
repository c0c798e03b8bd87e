"""Paths and names as users type them and corpora hold them: made plain once, where they come in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePath, PurePosixPath

from asteroid_stab.errors import StabError

NAME_BYTES, PATH_BYTES = 255, 4095
"""What the usual file systems hold."""


def user_path(text: str | os.PathLike[str], what: str) -> str:
    """Returns a path that a user gave, with ``~`` at its beginning as the home folder; every other sign stays.

    Args:
        text: the path as it was given.
        what: name of the option or key, for the message.

    Raises:
        StabError: it is empty, longer than a file system can hold, or no text in UTF-8, which our tables hold; or it
            holds a null character.

    Example:
        >>> user_path("runs/a=b, c/", "run_dir"), user_path("./~", "run_dir")
        ('runs/a=b, c/', './~')
        >>> user_path(" ", "run_dir")
        Traceback (most recent call last):
        asteroid_stab.errors.StabError: run_dir needs a path, got nothing
    """
    if "\0" in os.fspath(text):  # it may come from a file
        raise StabError(f"{what} must be a path without null characters, got {os.fspath(text)!r}")
    path = os.path.expanduser(os.fspath(text))
    if not path.strip():
        raise StabError(f"{what} needs a path, got nothing")
    check_text(path, what)
    longest = max((len(os.fsencode(name)) for name in PurePath(path).parts), default=0)
    if longest > NAME_BYTES or len(os.fsencode(path)) > PATH_BYTES:
        raise StabError(
            f"{what} must be a path of at most {PATH_BYTES} bytes and {NAME_BYTES} in each name, got one of "
            f"{len(os.fsencode(path))} bytes with {longest} in a name"
        )
    return path


def shown(name: str) -> str:
    """Returns a name as it can be printed and drawn: signs that are no letters of a text are written as numbers.

    Example:
        >>> print(shown("été |"), shown("two" + chr(10) + "lines"))
        été | two\\nlines
    """
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)


def check_text(name: str, what: str) -> None:
    """Checks that a name can be written into a table: it may come from a file system that holds any bytes.

    Raises:
        StabError: it is no text in UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise StabError(f"{what} must have a name in UTF-8, got {name!a}: rename it") from error


def check_name(name: str, what: str) -> str:
    """Returns the name of a file that will be written, if a file system can hold it.

    Raises:
        StabError: it is too long.
    """
    if len(os.fsencode(name)) > NAME_BYTES:
        raise StabError(f"{what} must have at most {NAME_BYTES} bytes, got {len(os.fsencode(name))}: {name[:40]}...")
    return name


def folder_names(names: Iterable[str], what: str) -> list[str]:
    """Returns names of folders that stand directly in another, each once, without slashes at their ends.

    Args:
        names: the names as they were given.
        what: what they should be, for the message.

    Raises:
        StabError: a name is empty, leads out of the folder, or names a folder within one of its folders.

    Example:
        >>> folder_names(["dev/", "./test", "dev"], "a subset")
        ['dev', 'test']
        >>> folder_names(["../dev"], "a subset")
        Traceback (most recent call last):
        asteroid_stab.errors.StabError: a subset must be the name of a folder, got '../dev'
    """
    plain: dict[str, None] = {}
    for name in names:
        parts = PurePath(name).parts if isinstance(name, str) else ()
        if len(parts) != 1 or parts[0] == ".." or PurePath(name).anchor:
            raise StabError(f"{what} must be the name of a folder, got {name!r}")
        plain[parts[0]] = None
    return list(plain)


def with_slashes(name: str) -> str:
    """Returns a path of a table with slashes, where Windows has written backslashes.

    Elsewhere a backslash is a letter of a name: a path that has slashes too keeps it.

    Example:
        >>> with_slashes("dev\\\\a.wav"), with_slashes("dev/a\\\\b.wav")
        ('dev/a.wav', 'dev/a\\\\b.wav')
    """
    return name if "/" in name else name.replace("\\", "/")


def inside(name: str, what: str) -> str:
    """Returns a path relative to a corpus, as a user or a table of the corpus gives it, with slashes.

    Raises:
        StabError: it leads out of the corpus: it is absolute or has ``..`` in it.
    """
    plain = with_slashes(name)
    for path in (PurePosixPath(plain), PurePath(name)):  # on Windows the second one has a drive, or other parts
        if path.anchor or ".." in path.parts:
            raise StabError(f"{what} must be a path within the corpus, got {name!r}")
    return plain
