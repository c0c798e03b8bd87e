"""A picture of the report as a file of its own, which is read on a light and on a dark page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from asteroid_stab.report.palette import palette
from asteroid_stab.report.parts import Figure

HEAD, GAP = 26.0, 22.0
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'


def standalone(figures: Sequence[Figure]) -> str:
    """The text of an SVG file with some figures beside each other, each under its title.

    Its colours are the page's: dark ones on a light background, and light ones where the reader prefers a dark page. It
    has no background of its own and loads nothing.

    Args:
        figures: the figures; their pictures have names of their own.

    Raises:
        ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("figures must hold at least one figure, got none")
    sizes = [_size(figure) for figure in figures]
    width = sum(size[0] for size in sizes) + GAP * (len(sizes) - 1)
    height = HEAD + max(size[1] for size in sizes)
    light, dark = (" ".join(f"{k}: {v};" for k, v in palette(dark=dark).items()) for dark in (False, True))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">',
        f"<title>{escape(' '.join(figure.alt for figure in figures))}</title>",
        f"<style>:root {{ {light} }} @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
        f"text {{ font-family: {_FONT}; }} .head {{ font-size: 14px; font-weight: 600; fill: var(--ink); }}</style>",
    ]
    left = 0.0
    for figure, (own_width, own_height) in zip(figures, sizes, strict=True):
        lines.append(f'<text class="head" x="{left + 6:g}" y="16">{escape(figure.title)}</text>')
        place = f'<svg x="{left:g}" y="{HEAD:g}" width="{own_width:g}" height="{own_height:g}" '
        lines.append(str(figure.svg).replace("<svg ", place, 1))
        left += own_width + GAP
    return "\n".join([*lines, "</svg>", ""])


def _size(figure: Figure) -> tuple[float, float]:
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', figure.svg)
    assert found is not None, "a Plot's picture states its size"
    return float(found[1]), float(found[2])
