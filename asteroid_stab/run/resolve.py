"""Values of a config that stand elsewhere in it: what ``${corpus:KEY}`` means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def corpus_value(data: Mapping[str, Any], key: str) -> Any:
    """Returns an argument of a corpus, or else of the corpus that it is made of, its ``base``.

    Of a corpus made of several ``parts``, it is the greatest value of them: the number of outputs that a model needs.

    Args:
        data: the config's ``data``.
        key: name of the argument.

    Raises:
        KeyError: none of them has it.

    Example:
        >>> corpus_value({"n_train": 100, "base": {"n_src": 3}}, "n_src")
        3
        >>> corpus_value({"parts": {"one": {"n_src": 1}, "two": {"n_src": 2}}}, "n_src")
        2
    """
    if key in data:
        return data[key]
    if isinstance(parts := data.get("parts"), Mapping) and parts:
        return max(corpus_value(part, key) for part in parts.values())
    if "base" not in data:
        raise KeyError(f"data.{key} is needed, and this corpus has none")
    return corpus_value(data["base"], key)
