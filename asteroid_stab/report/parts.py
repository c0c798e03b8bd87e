"""The parts of a section of the report: plain data, which the template turns into HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from asteroid_stab.report.run_data import Run


@dataclass(frozen=True)
class Key:
    """One entry of a picture's legend: the look of a line.

    Args:
        label: the text of the entry.
        colour: a CSS colour, usually a variable of the palette (``var(--c0)``).
        dash: an SVG ``stroke-dasharray``; empty for an unbroken line.
        width: line width in pixels.
        opacity: 0 to 1.
    """

    label: str
    colour: str
    dash: str = ""
    width: float = 2.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Figure:
    """A picture with its legend and caption.

    Args:
        svg: the picture, from :meth:`asteroid_stab.report.plot.Plot.svg`.
        title: the subject of the picture.
        alt: the content of the picture in words, for readers who cannot see it.
        caption: how to read the picture.
        legend: its entries; empty if there is only one line.
    """

    kind: ClassVar[str] = "figure"
    svg: Markup
    title: str
    alt: str
    caption: str = ""
    legend: Sequence[Key] = ()


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Args:
        title: its caption.
        head: the column names, the first column's included.
        rows: the cells as text.
        keys: the look of each row's run in the pictures; empty if the rows are not runs.
        numeric: whether the cells are numbers, which are aligned on the right in digits of equal width.
        folded: whether it is hidden until a click on the title.
    """

    kind: ClassVar[str] = "table"
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: Sequence[Key] = ()
    numeric: bool = True
    folded: bool = False


@dataclass(frozen=True)
class Note:
    """A sentence about something that is missing in a run or left out of its numbers.

    Args:
        text: the sentence.
        command: the shell command that creates it.
    """

    kind: ClassVar[str] = "note"
    text: str
    command: str = ""


@dataclass(frozen=True)
class Facts:
    """Large numbers side by side: ``(name, value, detail)`` each."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Cards:
    """A block for each run about its origin: ``(name, colour, facts)``; a fact is ``(name, text, is code)``."""

    kind: ClassVar[str] = "cards"
    title: str
    cards: Sequence[tuple[str, str, Sequence[tuple[str, str, bool]]]]
    folded: bool = False


@dataclass(frozen=True)
class Listing:
    """A long text, shown after a click on its title."""

    kind: ClassVar[str] = "listing"
    title: str
    text: str
    colour: str = ""


@dataclass(frozen=True)
class Player:
    """One sound: its name, the data URIs of the WAV and of its spectrogram, and the spectrogram in words."""

    title: str
    audio: str
    picture: str
    alt: str


@dataclass(frozen=True)
class Item:
    """The sounds of one mixture: a heading, the mixture, and a pair (estimate, reference) for each source."""

    title: str
    detail: str
    mixture: Player
    pairs: Sequence[tuple[Player | None, Player | None]]


@dataclass(frozen=True)
class Players:
    """The items of one run, with players."""

    kind: ClassVar[str] = "players"
    title: str
    colour: str
    items: Sequence[Item]


Part = Figure | Table | Note | Facts | Cards | Listing | Players


@dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Args:
        id: the anchor that the navigation links to.
        title: the heading.
        parts: its parts in order; neighbouring pictures are placed side by side if there is room.
        intro: a sentence under the heading.
    """

    id: str
    title: str
    parts: Sequence[Part] = field(default_factory=list)
    intro: str = ""


SectionMaker = Callable[[Sequence[Run]], Section | None]
