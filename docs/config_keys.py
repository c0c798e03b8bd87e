"""The page of every config key, made from ``conf/`` and from the docstrings of what its files build."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sphinx.ext.napoleon import Config, GoogleDocstring

from docs.references import located, qualified

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][\w.]*):(?: +(?P<value>[^#\s][^#]*?))?(?: +# ?(?P<comment>.*))?$")
NOT_KEYS = ("defaults", "_target_", "_partial_")


@dataclass
class Key:
    """A key of a file.

    Attributes:
        name: in the file, with dots.
        default: the value as the file writes it; empty for a key that only holds others.
        comment: what stands behind it.
    """

    name: str
    default: str
    comment: str


def keys_of(text: str) -> list[Key]:
    """Returns the keys of a file of ``conf/`` in its order.

    Raises:
        ValueError: a key of the file was not found, because its style is another one.

    Example:
        >>> keys_of("a:\\n  b: 1  # first,\\n         # second\\nc: null")
        [Key(name='a.b', default='1', comment='first, second'), Key(name='c', default='null', comment='')]
    """
    found: list[Key] = []
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        if found and (more := re.fullmatch(r" +# ?(.*)", line)):
            found[-1].comment = f"{found[-1].comment} {more[1].strip()}".strip()
        match = _LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        stack = [(depth, key) for depth, key in stack if depth < indent]
        stack.append((indent, match["key"]))
        if stack[0][1] not in NOT_KEYS:
            name = ".".join(key for _, key in stack)
            found.append(Key(name, (match["value"] or "").strip(), (match["comment"] or "").strip()))
    missing = {name for name in leaves(yaml.safe_load(text) or {}) if not any(_holds(key.name, name) for key in found)}
    if missing:
        raise ValueError(f"not found line by line: {sorted(missing)}")
    return [key for key in found if (key.default or key.comment) and key.default != "{}"]


def _holds(key: str, name: str) -> bool:
    return name == key or name.startswith(f"{key}.")


def leaves(node: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yields the keys of values, with dots; what chooses and builds is no key."""
    for key, value in node.items():
        if key in NOT_KEYS:
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{before}{key}.")
        elif value != {} or not isinstance(value, dict):
            yield f"{before}{key}"


def targets(node: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Returns the class or function that each part of a file builds, by the part's name."""
    found = {before: str(node["_target_"])} if "_target_" in node else {}
    for key, value in node.items():
        if isinstance(value, dict):
            found |= targets(value, f"{before}.{key}".lstrip("."))
    return found


def built_by(file: Path) -> dict[str, str]:
    """Returns what a file builds, with the options that it begins with."""
    node = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    found: dict[str, str] = {}
    for entry in node.get("defaults", ()):
        if isinstance(entry, dict):
            ((name, option),) = entry.items()
            group, _, place = str(name).lstrip("/").partition("@")
            base, place = file.parent.parent / group / f"{option}.yaml", place or group
        else:
            option, _, place = entry.partition("@")
            base = file.parent / f"{option}.yaml"
        if base.exists():
            found |= {".".join(filter(None, (place, at))): target for at, target in built_by(base).items()}
    return found | targets(node)


def meanings(target: str) -> dict[str, str]:
    """Returns what the docstrings of a class of this package and its bases, or of a function, say of each argument."""
    found: dict[str, str] = {}
    if not target.startswith("asteroid_stab."):
        return found
    built = located(target)
    for thing in inspect.getmro(built) if inspect.isclass(built) else (built,):
        if not (getattr(thing, "__module__", None) or "").startswith("asteroid_stab"):
            continue
        for doc in (inspect.getdoc(thing) if thing.__doc__ else "", inspect.getdoc(getattr(thing, "__init__", None))):
            rst = str(GoogleDocstring(doc or "", Config(napoleon_custom_sections=["Shapes"])))
            for name, meaning in re.findall(r"^:param (\S+): ((?:.*\n)(?:[ ]+.*\n)*)", f"{rst}\n", re.MULTILINE):
                text = qualified(" ".join(meaning.split()), thing.__module__, thing.__qualname__)
                found.setdefault(name.replace("\\", ""), text)
    return found


def _escaped(comment: str) -> str:
    """Returns a comment as reStructuredText, its backticks as code."""
    parts = re.split(r"(`[^`]+`)", comment)
    return "".join(f"`{part}`" if part.startswith("`") else re.sub(r"([*_|\\`])", r"\\\1", part) for part in parts)


def rows(file: Path, group: str) -> list[tuple[str, str, str]]:
    """Returns name, default and meaning of each key of a file: the docstring's words, else the comment."""
    text = file.read_text(encoding="utf-8")
    built = built_by(file)
    found = []
    for key in keys_of(text):
        owner, _, argument = key.name.rpartition(".")
        while owner and owner not in built:  # a key of an argument that is a dict
            owner, _, argument = owner.rpartition(".")
        target = built.get(owner, "")
        said = meanings(target).get(argument, "") if target else ""
        of_target = f"argument of ``{target}``" if target else ""
        name = f"{group}.{key.name}" if group else key.name
        found.append((name, key.default, said or _escaped(key.comment) or of_target or head(file)))
    return found


def head(file: Path) -> str:
    """Returns the comment that a file begins with."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return _escaped(" ".join(line.lstrip("# ") for line in lines[:first]))


def table(file: Path, group: str) -> str:
    """Returns the keys of a file as a table in reStructuredText; empty where it has none."""
    found = rows(file, group)
    if not found:
        return ""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 34 20 46", "", "   * - key", "     - default"]
    lines.append("     - meaning")
    for name, default, meaning in found:
        shown = f"``{default}``" if default not in ("", "???") else "to be given" if default else ""
        lines += [f"   * - ``{name}``", f"     - {shown}", f"     - {meaning}"]
    return "\n".join([*lines, ""])


def page(conf: Path) -> str:
    """Returns the page in reStructuredText.

    Args:
        conf: the folder ``conf/``.
    """
    parts = [_title("Config keys", "="), _INTRODUCTION, _title("The run", "-"), table(conf / "train.yaml", "")]
    for folder in sorted(path for path in conf.iterdir() if path.is_dir() and not path.name.startswith("_")):
        parts.append(_title(folder.name, "-"))
        for file in sorted(folder.glob("*.yaml")):
            node = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            made = sorted({target for target in targets(node).values() if target.startswith("asteroid_stab.")})
            builds = "Builds " + ", ".join(f":obj:`~{target}`" for target in made) + "." if made else ""
            parts += [_title(f"{folder.name}={file.stem}", "^"), head(file), builds, table(file, folder.name)]
    return "\n\n".join(part for part in parts if part)


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"


_INTRODUCTION = """\
Made from ``conf/`` and the docstrings when this site is built. A recipe chooses one option of each group and sets
values. A word ``KEY=VALUE`` behind ``asteroid-stab train RECIPE`` sets a value; ``GROUP=OPTION`` chooses an option
(``stabilizer=[dsd,reweight]`` several). ``--print-config`` shows the whole config of a training without running it. A
key that does not exist is refused, with the nearest name. ``${...}`` takes another key's value."""
