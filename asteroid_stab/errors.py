"""The one kind of error that a user's input can cause."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

_ARGUMENT = "{argument}"
_N_SHOWN = 3
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class StabError(ValueError):
    """An input of the user cannot be used; the message says what was wanted and what was got.

    The command line prints the message alone and exits with 2. Every other exception is a defect of this package and
    keeps its traceback.

    Args:
        message: the message; ``{argument}`` in it stands for the name of the argument.
        argument: name of the constructor argument that is at fault. Owners of the object that was constructed say with
            :func:`within` where it stands, so that a user reads the name of the key in the config.

    Example:
        >>> str(StabError("{argument} is not set; set {argument}=FOLDER", argument="root"))
        'root is not set; set root=FOLDER'
    """

    def __init__(self, message: str, argument: str | None = None):
        super().__init__(message.replace(_ARGUMENT, argument) if argument else message)
        self.message, self.argument = message, argument

    def move_to(self, owner: str) -> None:
        """Puts ``owner.`` before the name of the argument, if the error has one."""
        if self.argument:
            self.argument = f"{owner}.{self.argument}"
            self.args = (self.message.replace(_ARGUMENT, self.argument),)


@contextmanager
def within(owner: str) -> Iterator[None]:
    """Names the arguments of an object in its errors as its owner does: ``root`` becomes ``owner.root``.

    Args:
        owner: name under which the owner holds the object: its own argument, or a node of the config.

    Example:
        >>> with within("data"), within("base"):
        ...     raise StabError("{argument} is not set; set {argument}=FOLDER", argument="root")
        Traceback (most recent call last):
        asteroid_stab.errors.StabError: data.base.root is not set; set data.base.root=FOLDER
    """
    try:
        yield
    except StabError as error:
        error.move_to(owner)
        raise


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known name nearest to ``name``, or nothing where none is near.

    Example:
        >>> nearest("concat", ["conv_tasnet", "concave"])
        " (did you mean 'concave'?)"
        >>> nearest("x", ["conv_tasnet"])
        ''
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def some(names: Sequence[str]) -> str:
    """The first three names, and dots for the others.

    Example:
        >>> some(["a", "b"]), some(["a", "b", "c", "d"])
        ('a, b', 'a, b, c, ...')
    """
    return ", ".join([*names[:_N_SHOWN], *(["..."] if len(names) > _N_SHOWN else [])])


def cause(error: BaseException) -> str:
    """Type and first line of an error that other code raised, without the codes that colour a terminal.

    Example:
        >>> cause(RuntimeError("the kernel of 20 is longer than 16\\nat line 7"))
        'RuntimeError: the kernel of 20 is longer than 16'
        >>> cause(MemoryError())
        'MemoryError'
    """
    text = next((line for line in _TERMINAL.sub("", str(error)).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text.strip()}" if text else type(error).__name__
