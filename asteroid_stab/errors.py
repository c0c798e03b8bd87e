"""The one kind of error that a user's input can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StabError(ValueError):
    """What the user gave cannot be used; the message says what was wanted and what was got.

    The command line prints the message alone and exits with 2. Every other exception is a defect of this package and
    keeps its traceback.
    """


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
