"""What the standard library has on a platform and in a version of Python, by the stubs that mypy brings."""

import ast
import functools
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

STUBS = Path(find_spec("mypy").origin).parent / "typeshed" / "stdlib"


@functools.cache
def _tree(module):
    place = STUBS / Path(*module.split("."))
    file = next((one for one in (place.with_suffix(".pyi"), place / "__init__.pyi") if one.exists()), None)
    return None if file is None else ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def defined(module, platform="linux", version=sys.version_info[:2]):
    """The names that a module has; None where there is no such module."""
    if _tree(module) is None:
        return None
    here = SimpleNamespace(platform=platform, version_info=version)
    names = set()

    def walk(body):
        for node in body:
            if isinstance(node, ast.If):
                holds = eval(compile(ast.Expression(node.test), "", "eval"), {"sys": here, "TYPE_CHECKING": True})
                walk(node.body if holds else node.orelse)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                names.update(one.id for one in getattr(node, "targets", [getattr(node, "target", None)]))
            elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                source = node.module or ""
                names.update(defined(source, platform, version) or ())
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names.update(alias.asname or alias.name for alias in node.names)

    walk(_tree(module).body)
    return names


def used(tree):
    """Pairs of a module of the standard library and a name of it that a source uses."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module, alias.name) for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr
