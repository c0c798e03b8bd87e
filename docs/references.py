"""The meaning of a name in a docstring or a page, found as Python finds it, through re-exports."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import asteroid_stab

PACKAGE = "asteroid_stab"


def rooms() -> list[str]:
    """Returns the packages of ``asteroid_stab``, conf and recipes aside, which hold no code."""
    found = [info.name for info in pkgutil.iter_modules(asteroid_stab.__path__) if info.ispkg]
    return [name for name in found if name not in ("conf", "recipes")]


def exported(room: str) -> list[str]:
    """Returns the names that a room of the package offers."""
    return list(getattr(importlib.import_module(f"{PACKAGE}.{room}"), "__all__", ()))


def located(name: str) -> Any:
    """Returns the object with a dotted name; an attribute of a package comes before its module of the same name.

    Raises:
        LookupError: there is none.
    """
    first, *parts = name.split(".")
    try:
        return _inside(importlib.import_module(first), first, parts)
    except (ImportError, ValueError) as error:
        raise LookupError(name) from error


def _inside(found: Any, place: str, parts: list[str]) -> Any:
    if not parts:
        return found
    part, *rest = parts
    missing = object()
    attribute = inspect.getattr_static(found, part, missing)
    attribute = getattr(found, part, missing) if attribute is missing else attribute
    if attribute is not missing:
        try:
            return _inside(attribute, f"{place}.{part}", rest)
        except ImportError:
            if not inspect.ismodule(found):
                raise
    return _inside(importlib.import_module(f"{place}.{part}"), f"{place}.{part}", rest)


def candidates(target: str, module: str, owner: str) -> list[str]:
    """Returns the full names that ``target`` may mean inside a class of a module, nearest first.

    Example:
        >>> candidates("merge", "a.b", "C")
        ['a.b.C.merge', 'a.b.merge', 'merge', 'builtins.merge']
    """
    scopes = [f"{module}.{owner}" if module and owner else "", module, "", "builtins"]
    return list(dict.fromkeys(f"{scope}.{target}" if scope else target for scope in scopes))


def canonical(found: Any, name: str) -> str:
    """Returns the name under which an object is documented: that of its own module, not of one that offers it."""
    module, qualname = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    return f"{module}.{qualname}" if isinstance(module, str) and isinstance(qualname, str) else name


def qualified(text: str, module: str, owner: str = "") -> str:
    """Returns a docstring's text with full names in its roles, so that it can stand on another page.

    Args:
        text: in reStructuredText.
        module: where the docstring stands.
        owner: the class within it.
    """

    def full(match: re.Match[str]) -> str:
        for name in candidates(match["target"], module, owner):
            with contextlib.suppress(LookupError):
                own = canonical(located(name), name).startswith(f"{PACKAGE}.")
                return f":{match['role']}:`~{name}`" if own else match[0]
        return match[0]

    return re.sub(r":(?P<role>class|func|meth|data|attr|obj):`~?(?P<target>\w[\w.]*)`", full, text)


def own_words(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Leaves out docstrings that a method has of another package's base class, and keeps a colon a colon.

    Napoleon takes the words before the first colon of an attribute's docstring for its type, unless a line is before.
    """
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment
    if what == "method" and not getattr(obj, "__doc__", None):
        owner, _, method = name.rpartition(".")
        said = (base for base in inspect.getmro(located(owner)) if getattr(vars(base).get(method), "__doc__", None))
        if not next(said, object).__module__.startswith(PACKAGE):
            lines.clear()


def resolve(app: Any, env: Any, node: pending_xref, contnode: nodes.Element) -> nodes.Element | None:
    """Resolves a reference that Sphinx could not: to its own place, or, of another package, to code without a link.

    A reference that means nothing stays unresolved, which ends the strict build.
    """
    if node.get("refdomain") != "py":
        return None
    objects = env.get_domain("py").objects
    target = node["reftarget"].lstrip(".")
    if target.split(".")[0] in app.config.autodoc_mock_imports:
        return contnode
    for name in candidates(target, node.get("py:module") or "", node.get("py:class") or ""):
        try:
            found = located(name)
        except LookupError:
            continue
        own = next((n for n in (canonical(found, name), name) if n in objects), None)
        if own is not None:
            entry = objects[own]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, own)
        return contnode  # another package's, or an attribute that its class' docstring describes
    hint = node.get("reftype") == "class" and not isinstance(contnode, nodes.literal)
    return contnode if hint else None  # a part of a type hint: a type variable, or an alias of the checker's


class LinkedNames(SphinxPostTransform):
    """Links code in a page that is the bare name of something public to its place in the reference."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Replaces the literals by references."""
        names = {name: f"{PACKAGE}.{room}.{name}" for room in rooms() for name in exported(room)}
        names |= {full.removeprefix(f"{PACKAGE}."): full for full in names.values()}  # stabilizers.AssignmentBank
        for literal in list(self.document.findall(nodes.literal)):
            full = names.get(literal.astext().split("(")[0])
            if full is None or isinstance(literal.parent, (pending_xref, nodes.reference, nodes.title)):
                continue
            reference = pending_xref(
                "", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=full, refdoc=self.env.docname
            )
            literal.replace_self(reference)


def setup(app: Any) -> dict[str, Any]:
    """Registers all three with Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", own_words, priority=400)  # before Napoleon
    app.add_post_transform(LinkedNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
