"""Rules that name the files of mixtures: ``s{j}/{name}.wav`` is source j of the mixture ``name``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from asteroid_stab.errors import StabError
from asteroid_stab.paths import inside

NAME, NUMBER = "{name}", "{j}"
SOURCE_EXAMPLE, MIXTURE_EXAMPLE = "s{j}/{name}.wav", "mix/{name}.wav"
_PIECES = re.compile(r"(\{name\}|\{j\})")


def files_by_rule(folder: Path, rule: str, number: int = 1) -> dict[str, str]:
    """Returns the files of a folder whose paths in it follow a rule, by the name that they have in it.

    Args:
        folder: the folder.
        rule: a path with ``{name}``, which stands for any text without a slash; every other sign is itself.
        number: stands for ``{j}``.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for file in ("a_s1.wav", "b_s1.wav", "b_s2.wav"):
        ...     (folder / file).touch()
        >>> sorted(files_by_rule(folder, "{name}_s{j}.wav", 2))
        ['b']
    """
    pattern, glob = "", ""
    for piece in _PIECES.split(rule):
        named = piece == NAME
        text = str(number) if piece == NUMBER else piece
        pattern += ("(?P=name)" if "?P<name>" in pattern else "(?P<name>[^/]+)") if named else re.escape(text)
        glob += "*" if named else re.sub(r"([*?[])", r"[\1]", text)
    found = {}
    for path in folder.glob(glob):
        match = re.fullmatch(pattern, path.relative_to(folder).as_posix())
        if match and path.is_file() and not match["name"].startswith("."):
            found[match["name"]] = str(path)
    return found


def path_by_rule(rule: str, name: str, number: int) -> str:
    """Returns the path that a rule gives for a name and a number of a source.

    Example:
        >>> path_by_rule("s{j}/{name}.wav", "talk{j}", 2)
        's2/talk{j}.wav'
    """
    return "".join({NAME: name, NUMBER: str(number)}.get(piece, piece) for piece in _PIECES.split(rule))


def check_rule(argument: str, rule: str, needed: Sequence[str], allowed: Sequence[str] = (NAME, NUMBER)) -> str:
    """Returns a rule for paths within a folder, in a plain form.

    Args:
        argument: name of the argument, for the message.
        rule: the rule.
        needed: the parts in braces that it must have.
        allowed: the parts in braces that it may have.

    Raises:
        ValueError: one is missing, another is there, or the path leads out of the folder.
    """
    parts = re.findall(r"\{[^{}]*\}|[{}]", rule)
    lacking = [part for part in needed if part not in parts]
    unknown = [part for part in parts if part not in allowed]
    if lacking or unknown:
        got = f"{unknown[0]} in {rule!r}" if unknown else repr(rule)
        example = SOURCE_EXAMPLE if NUMBER in allowed else MIXTURE_EXAMPLE
        raise ValueError(f"{argument} must be a path with {' and '.join(needed)}, such as {example}, got {got}")
    try:
        return Path(inside(rule, argument)).as_posix()
    except StabError as error:
        raise ValueError(str(error)) from error


def count_by_rule(folder: Path, rule: str) -> int:
    """Returns the number of sources whose files in a folder follow a rule; 1 where the rule has no ``{j}``."""
    if NUMBER not in rule:
        return 1
    return next(j for j in count() if not files_by_rule(folder, rule, j + 1))
