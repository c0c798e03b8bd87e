"""The page: sections, template, and one file written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from asteroid_stab import __version__
from asteroid_stab.atomic import check_writable, write_text
from asteroid_stab.errors import StabError
from asteroid_stab.report.configuration import configuration
from asteroid_stab.report.corpora import corpora
from asteroid_stab.report.data_map import data_map
from asteroid_stab.report.distribution import evaluation
from asteroid_stab.report.item_figures import item_figures
from asteroid_stab.report.listening import listening
from asteroid_stab.report.overview import overview
from asteroid_stab.report.palette import palette, run_key
from asteroid_stab.report.parts import Key, Part, Section, SectionMaker
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.training import training

# Megabytes of base64 text: a page of one run stays below 5 MB, and a page of many runs can still be sent by mail.
RUN_AUDIO_MB, PAGE_AUDIO_MB = 3.5, 12.0
_GENERATOR, _HEAD_BYTES = b'<meta name="generator" content="asteroid-stab', 1000  # of a page of this program
_FOLDER = Path(__file__).parent
SECTIONS: tuple[SectionMaker, ...] = (
    overview,
    training,
    data_map,
    evaluation,
    corpora,
    item_figures,
    listening(RUN_AUDIO_MB, PAGE_AUDIO_MB),
    configuration,
)


def render(runs: Sequence[Run], sections: Sequence[SectionMaker] = SECTIONS) -> str:
    """The HTML page of the runs.

    Args:
        runs: the runs, from :func:`asteroid_stab.report.run_data.read_runs`; at least one.
        sections: functions that each turn the runs into a section, in the order of the page, or return ``None`` if they
            have nothing to show.

    Raises:
        ValueError: there are no runs.
    """
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    keys = [run_key(run.index, run.name) for run in runs]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"
    return render_sections(title, keys, [section for maker in sections if (section := maker(runs)) is not None])


def render_sections(title: str, keys: Sequence[Key], sections: Sequence[Section]) -> str:
    """The HTML page of some sections.

    Args:
        title: its title.
        keys: the look and the name of everything that it compares.
        sections: the sections, in their order; the first has the id ``overview``.
    """
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            keys=keys,
            title=title,
            sections=sections,
            palettes=[palette(dark=False), palette(dark=True)],
            style=Markup("\n".join(map(page_file, ("colours.css", "parts.css", "style.css")))),
            script=Markup(page_file("player.js")),
            made=datetime.now().isoformat(" ", "minutes"),
            version=__version__,
        )
    )


def render_parts(parts: Sequence[Part]) -> Markup:
    """The HTML of some parts, for a page that has ``colours.css`` and ``parts.css``."""
    show: Any = _environment().get_template("parts.html.j2").module
    return Markup('<div class="parts">{}</div>').format(Markup("").join(map(show.part, parts)))


def page_file(name: str) -> str:
    """The text of a file that the page is made of, such as ``parts.css``."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def check_place(path: Path, option: str = "--out") -> None:
    """Checks, before the runs are read, that their page can be written and replaces nothing but a page.

    Args:
        path: the page.
        option: the option that names it, for messages.

    Raises:
        StabError: it is a folder, a file of another kind, or in a folder that cannot be written.
    """
    if path.is_dir():
        raise StabError(f"{option} must be a file, got the folder {str(path)!r}")
    if path.suffix not in (".html", ".htm"):
        raise StabError(f"{option} must end in .html, got {str(path)!r}")
    if path.is_file() and _GENERATOR not in path.read_bytes()[:_HEAD_BYTES]:
        raise StabError(f"{str(path)!r} is no page of this program, and would be replaced: {option} names another file")
    check_writable(path.parent, f"{option} names another file")


def write(page: str, path: Path) -> None:
    """Writes the page; an existing page stays whole until the new one is complete.

    Raises:
        StabError: the file cannot be written there.
    """
    try:
        write_text(path, page)
    except OSError as error:
        raise StabError(f"the report cannot be written to {str(path)!r}: {error.strerror}") from error
