"""Corpora within corpora: their errors name keys as the whole config has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from asteroid_stab.errors import StabError


@contextmanager
def inner(name: str) -> Iterator[None]:
    """What a corpus that stands at ``data.NAME`` calls ``data.root`` is ``data.NAME.root`` in its errors.

    Raises:
        StabError: that of the corpus.

    Example:
        >>> with inner("enhancement"), inner("base"):
        ...     raise StabError("there is no speech: set data.root=FOLDER")
        Traceback (most recent call last):
        asteroid_stab.errors.StabError: there is no speech: set data.enhancement.base.root=FOLDER
    """
    try:
        yield
    except StabError as error:
        raise StabError(re.sub(r"(?<![\w./\\-])data\.(?=\w)", f"data.{name}.", str(error))) from error
