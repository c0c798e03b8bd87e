"""Shapes of the JSON files of a run folder: a file that has another one is named, with the entry that is wrong."""

from __future__ import annotations

from typing import Any

NUMBER = (int, float, type(None))  # undefined numbers are null
VERSIONS = {
    **dict.fromkeys(("recipe?", "command?", "date?", "device?", "machine?", "python?"), (str, type(None))),
    "packages?": {str: str},
    "git?": (dict, type(None)),
    "n_parameters?": (int, type(None)),
}
FIGURE = {
    "label": str,
    **dict.fromkeys(("unit?", "meaning?"), str),
    "digits?": int,
    "most?": NUMBER,
    "is_cost?": bool,
}
COST = {
    "n_parameters": int,
    "gmacs_per_s": NUMBER,
    **dict.fromkeys(("real_time_factor", "length_s"), (int, float)),
    "n_threads": int,
    **dict.fromkeys(("device", "uncounted"), str),
}
SUMMARY = {
    "command": str,
    "metrics": {str: {str: NUMBER}},
    "failures": {str: [str]},
    "failure_reasons?": {str: {str: str}},
    "reference_fallbacks?": {str: str},
    "classes?": {str: {str: NUMBER}},
    "figures?": {str: FIGURE},
    "words?": dict.fromkeys(("wer", "cpwer", "n_words"), (int, float)),
    **dict.fromkeys(("variant?", "corpus?", "target?", "oracle?"), (str, type(None))),
    "cost?": (dict, type(None)),
    "model?": str,
    **dict.fromkeys(("limit?", "n_of?", "n_mics?"), (int, type(None))),
    "model_sha256?": (str, type(None)),
}
EXAMPLES = [{"kind": frozenset(("best", "median", "worst")), "name": str, "si_sdr_i?": NUMBER}]


def misfit(value: Any, shape: Any, at: str = "it") -> str:
    """Returns where and how ``value`` does not have a shape; empty if it has.

    Args:
        value: the content of a JSON file.
        shape: a type or several; a frozenset of values; ``[shape]`` for a list; ``{str: shape}`` for a mapping; or a
            mapping of names to shapes, where a name with ``?`` at its end may be absent, and other names are free.
        at: name of the value, for the message.

    Example:
        >>> misfit({"n": 1, "names": ["a", 2]}, {"n": int, "names": [str], "more?": int})
        'names[1] must be str, got 2'
        >>> misfit({}, {"n": int}), misfit({"n": 1}, {"n": int})
        ('n is missing', '')
    """
    if isinstance(shape, list):
        parts = [(f"{at}[{i}]", one, shape[0]) for i, one in enumerate(value)] if isinstance(value, list) else None
    elif isinstance(shape, dict):
        parts = _entries(value, shape, "" if at == "it" else f"{at}.") if isinstance(value, dict) else None
        if missing := [name for name, one, _ in parts or [] if one is _MISSING]:
            return f"{missing[0]} is missing"
    elif isinstance(shape, frozenset):
        fits = isinstance(value, str) and value in shape
        return "" if fits else f"{at} must be one of {', '.join(sorted(shape))}, got {_short(value)}"
    else:
        types = shape if isinstance(shape, tuple) else (shape,)
        fits = isinstance(value, types) and (not isinstance(value, bool) or bool in types)
        names = " or ".join("null" if one is type(None) else one.__name__ for one in types)
        return "" if fits else f"{at} must be {names}, got {_short(value)}"
    if parts is None:
        return f"{at} must be a {'list' if isinstance(shape, list) else 'mapping'}, got {_short(value)}"
    return next((fault for name, one, own in parts if (fault := misfit(one, own, name))), "")


_MISSING = object()


def _entries(value: dict[str, Any], shape: dict[Any, Any], at: str) -> list[tuple[str, Any, Any]]:
    """Name, value and shape of every entry that has a shape."""
    if str in shape:
        return [(f"{at}{name}", one, shape[str]) for name, one in value.items()]
    named = [(name.removesuffix("?"), own, name.endswith("?")) for name, own in shape.items()]
    return [(f"{at}{name}", value.get(name, _MISSING), own) for name, own, free in named if name in value or not free]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
