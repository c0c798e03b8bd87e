"""Values of a config that stand elsewhere in it: what ``${corpus:KEY}`` means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asteroid_stab.errors import StabError


def corpus_value(data: Any, key: str, at: str = "data") -> Any:
    """Returns an argument of a corpus, or else of the corpus that it is made of, its ``base``.

    Of a corpus made of several ``parts``, it is the greatest value of them: the number of outputs that a model needs.

    Args:
        data: the config's ``data``.
        key: name of the argument.
        at: the corpus' own key in the config.

    Raises:
        KeyError: none of them has it.
        StabError: there is no corpus in the place of one.

    Example:
        >>> corpus_value({"n_train": 100, "base": {"n_src": 3}}, "n_src")
        3
        >>> corpus_value({"parts": {"one": {"n_src": 1}, "two": {"n_src": 2}}}, "n_src")
        2
    """
    if not isinstance(data, Mapping):
        got = "null" if data is None else repr(data)
        raise StabError(f"{at} must be a corpus, which data@{at}=OPTION chooses, got {got}")
    if key in data:
        return data[key]
    if isinstance(parts := data.get("parts"), Mapping) and parts:
        return max(corpus_value(part, key, f"{at}.parts.{name}") for name, part in parts.items())
    if "base" not in data:
        raise KeyError(f"data.{key} is needed, and this corpus has none")
    return corpus_value(data["base"], key, f"{at}.base")
