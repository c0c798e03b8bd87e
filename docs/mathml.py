"""Formulas as MathML, which browsers draw without a script or a font: the site needs no network."""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

_SPACE = "http://www.w3.org/1998/Math/MathML"
_OF_HTML = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)\w+;")  # entities that XML does not know
ElementTree.register_namespace("", _SPACE)  # written as in HTML, without a prefix


def converted(formula: str, as_block: bool = False) -> str:
    """Returns a formula of LaTeX as MathML, in which an index stands beside a letter with an accent.

    docutils puts the index of ``\\hat s_1`` under the letter, as it does with the limits of a sum.
    """
    made = tex2mathml(formula, as_block=as_block)
    root = ElementTree.fromstring(_OF_HTML.sub(lambda entity: html.unescape(entity[0]), made))
    for both in [*root.iter(f"{{{_SPACE}}}munderover")]:
        letter, index, over = both
        if over.tag == f"{{{_SPACE}}}mo" and over.get("stretchy") == "false":
            accented = ElementTree.Element(f"{{{_SPACE}}}mover", accent="true")
            accented.extend([letter, over])
            both.tag = f"{{{_SPACE}}}msub"
            both[:] = [accented, index]
    return ElementTree.tostring(root, encoding="unicode")


def inline(self: Any, node: nodes.math) -> None:
    """Writes a formula within a line."""
    self.body.append(converted(node.astext()))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    """Writes a formula of its own."""
    self.body.append(f'<div class="math">{converted(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Registers the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
