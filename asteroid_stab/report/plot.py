"""Matplotlib figures as inline SVG that takes colours and fonts from the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as MplFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from asteroid_stab.paths import shown
from asteroid_stab.report.palette import VARIABLES, stand_in
from asteroid_stab.report.parts import Key

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"


class Plot:
    """One pair of axes in the look of the page.

    Args:
        name: name of the picture, unique within the page; it makes the ids of the SVG unique.
        xlabel: label of the horizontal axis, with its unit.
        ylabel: label of the vertical axis, with its unit.
        alt: the content of the picture in words.

    Example:
        >>> from asteroid_stab.report.palette import run_key
        >>> plot = Plot("lr", "epoch", "learning rate", alt="The learning rate falls.")
        >>> plot.line([0, 1, 2], [1e-3, 1e-3, 5e-4], run_key(0), tips=["a", "b", "c"])
        >>> svg = plot.svg()
        >>> svg.count("<title>"), "var(--c0)" in svg, "http" in svg
        (3, True, False)
    """

    def __init__(self, name: str, xlabel: str, ylabel: str, alt: str):
        self.name, self.alt = name, alt
        self._tips: dict[str, Sequence[str]] = {}
        with matplotlib.rc_context(self._style()):
            self._figure = MplFigure(figsize=(4.7, 3.2), layout="constrained")
            FigureCanvasSVG(self._figure)
            self.axes = self._figure.add_subplot()
            self.axes.set(xlabel=shown(xlabel), ylabel=shown(ylabel))
            self.axes.set_axisbelow(True)

    def line(self, x: ArrayLike, y: ArrayLike, key: Key, tips: Sequence[str] = ()) -> None:
        """Draws the points joined by a line; ``tips`` are shown when the pointer rests on a point."""
        self.curve(x, y, key)
        # Short lines show their points; the points of long and of pale lines are there for the pointer only.
        shown = np.size(x) <= 40 and key.opacity == 1
        self._points(x, y, key, size=3.4 if shown else 5.0, opacity=1.0 if shown else 0.01, tips=tips)

    def curve(self, x: ArrayLike, y: ArrayLike, key: Key) -> None:
        """Draws a line without its points."""
        self.axes.plot(x, y, alpha=key.opacity, solid_joinstyle="round", zorder=2.5, **self._stroke(key))

    def scatter(self, x: ArrayLike, y: ArrayLike, key: Key, tips: Sequence[str] = ()) -> None:
        """Draws points only: transparent if they are many, so that dense places show; large if there is one."""
        many = np.size(x) > 500
        opacity = 1.0 if np.size(x) < 20 else 0.35 if many else 0.55
        self._points(x, y, key, size=2.6 if many else 3.6 if np.size(x) > 1 else 7.0, opacity=opacity, tips=tips)

    def marks(self, x: ArrayLike, y: ArrayLike, key: Key, size: float, tips: Sequence[str] = ()) -> None:
        """Draws points of one size, in points of the figure; ``tips`` are shown when the pointer rests on one."""
        self._points(x, y, key, size, opacity=1.0, tips=tips)

    def label(self, x: float, y: float, text: str, key: Key) -> None:
        """Writes a word to the right of a point, in the colour of a line."""
        place: dict[str, Any] = {
            "xytext": (8, 0),
            "textcoords": "offset points",
            "va": "center",
            "annotation_clip": False,
        }
        self.axes.annotate(shown(text), (x, y), color=stand_in(key.colour), **place)

    def steps(self, heights: ArrayLike, edges: ArrayLike, key: Key) -> None:
        """Draws a histogram: its outline and a pale area."""
        self.axes.stairs(heights, edges, fill=True, color=stand_in(key.colour), alpha=0.15)
        stroke = self._stroke(key)
        self.axes.stairs(heights, edges, fill=False, **{**stroke, "linewidth": 1.2})

    def upright(self, x: float, key: Key) -> None:
        """Draws a dotted vertical line over the whole height."""
        self.axes.axvline(x, color=stand_in(key.colour), linewidth=1.2, linestyle=(0, (1.0, 2.0)))

    def below(self, ylabel: str) -> None:
        """Adds axes below the first ones, with the same horizontal axis; later calls draw there."""
        with matplotlib.rc_context(self._style()):
            upper, grid = self.axes, self._figure.add_gridspec(2, 1)
            upper.set_subplotspec(grid[0])
            self.axes = self._figure.add_subplot(grid[1], sharex=upper)
            self.axes.set(xlabel=upper.get_xlabel(), ylabel=shown(ylabel))
            self.axes.set_axisbelow(True)
            upper.set_xlabel("")
            upper.tick_params(labelbottom=False)

    def _stroke(self, key: Key) -> dict[str, Any]:
        dashes = tuple(float(length) for length in key.dash.split())
        width = key.width * 0.75  # a key's pixels in the points of the figure
        return {
            "color": stand_in(key.colour),
            "linewidth": width,
            "linestyle": (0, dashes) if dashes else "-",
        }

    def _points(
        self,
        x: ArrayLike,
        y: ArrayLike,
        key: Key,
        size: float,
        opacity: float,
        tips: Sequence[str],
    ) -> None:
        (points,) = self.axes.plot(
            x, y, linestyle="none", marker="o", markersize=size, markeredgewidth=0, alpha=opacity,
            color=stand_in(key.colour),
        )  # fmt: skip
        if tips:
            self.tips(points, tips)

    def tips(self, artist: Artist, texts: Sequence[str]) -> None:
        """Sets the texts that are shown when the pointer rests on the marks of an artist."""
        gid = f"tips{len(self._tips)}"
        artist.set_gid(gid)
        self._tips[gid] = texts

    def whole_numbers(self) -> None:
        """Puts the ticks of the horizontal axis at whole numbers only."""
        self.axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))

    def svg(self) -> Markup:
        """The figure as an ``<svg>`` element that takes colours and fonts from the page."""
        text = io.BytesIO()
        with matplotlib.rc_context(self._style()):
            self._figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        root = ElementTree.fromstring(text.getvalue())
        # The metadata holds addresses; the style sheet would apply to the whole page (style.css has its rules instead).
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in (_SVG + "metadata", _SVG + "style"):
                    parent.remove(child)
        # Matplotlib gives most ids the same number in every figure; the ids in use are salted with our name.
        values = " ".join(value for element in root.iter() for value in element.attrib.values())
        used = set(re.findall(r"#([^\s\"')]+)", values))
        for element in list(root.iter()):
            self._add_tips(element)
            if element.get("id") not in used:
                element.attrib.pop("id", None)
            element.tag = element.tag.replace(_SVG, "")  # HTML needs no namespaces
            element.attrib.update({key: _of_the_page(key, value) for key, value in element.attrib.items()})
            if _XLINK + "href" in element.attrib:
                element.set("href", element.attrib.pop(_XLINK + "href"))
        root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": self.alt}
        return Markup(re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode")))

    def _add_tips(self, element: ElementTree.Element) -> None:
        tips = self._tips.get(element.get("id", ""))
        if tips is None:
            return
        element.set("class", "tips")
        marks = list(element.iter(_SVG + "use")) or [element]
        assert len(marks) == len(tips), f"{len(tips)} tips for {len(marks)} marks"
        for mark, tip in zip(marks, tips, strict=True):
            title = ElementTree.Element("title")
            title.text = tip
            mark.insert(0, title)

    def _style(self) -> dict[Any, Any]:
        ink, soft, grid = (stand_in(f"var(--{name})") for name in ("ink", "soft", "grid"))
        return {
            "svg.fonttype": "none", "svg.hashsalt": self.name, "font.size": 11, "text.color": ink,
            "text.parse_math": False,  # a label may have any name
            "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": soft,
            "axes.linewidth": 0.7, "axes.labelcolor": ink, "axes.labelsize": 11.5, "axes.grid": True,
            "grid.color": grid, "grid.linewidth": 0.7, "lines.scale_dashes": False,
            "xtick.color": soft, "xtick.labelcolor": soft, "xtick.major.size": 3,
            "ytick.color": soft, "ytick.labelcolor": soft, "ytick.major.size": 0,
        }  # fmt: skip


def _of_the_page(key: str, value: str) -> str:
    """An attribute of matplotlib's SVG with the fonts and colours of the page, and only the visible digits."""
    if key == "style":
        value = re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", value)
        value = re.sub(r"font-family: [^;]*;? ?", "", value)
        return re.sub("#fe0d[0-9a-f]{2}", lambda match: VARIABLES[match[0]], value)
    if key in ("d", "x", "y", "width", "height"):
        value = re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.2f}", value)
        return re.sub(r"\s+", " ", value).strip()
    return value
