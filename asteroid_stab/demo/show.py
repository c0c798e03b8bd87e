"""The HTML of the demo: players of a separation, and what a run's tables show, with the parts of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from markupsafe import Markup, escape

from asteroid_stab.demo.separator import Separation, Separator
from asteroid_stab.report.overview import overview
from asteroid_stab.report.page import page_file, render_parts
from asteroid_stab.report.palette import palette, run_key
from asteroid_stab.report.parts import Item, Note, Part, Player, Players
from asteroid_stab.report.run_data import Run, distinct_names
from asteroid_stab.report.spectrogram import PEAK, data_uri, file_spectrogram
from asteroid_stab.report.training import training
from asteroid_stab.report.wording import duration, parameters

Address = Callable[[Path], str]
"""Where the page finds a file."""

_BLOCK = 2**19
_OWN_CSS = """
.stab { color: var(--ink); font-size: 1rem; line-height: 1.5; }
.stab h1 { font-size: 1.7rem; line-height: 1.2; letter-spacing: -0.015em; overflow-wrap: anywhere; }
.stab h2 { font-size: 1.3rem; letter-spacing: -0.01em; }
.stab h1, .stab h2, .stab h3, .stab h4 { font-weight: 650; }
.stab .kicker { color: var(--soft); font-size: 0.8rem; letter-spacing: 0.06em; text-transform: uppercase; }
.stab .kicker { margin-bottom: 0.2rem; }
.stab .parts { margin-top: 0.6rem; }
.gradio-container .html-container:has(.stab) { padding: 4px 0; }
"""


def style() -> str:
    """The style sheet of all that this module makes; its rules hold within the class ``stab`` only."""
    light, dark = (_variables(palette(dark=dark)) for dark in (False, True))
    colours = f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return f"{colours}\n{page_file('colours.css')}\n.stab {{\n{page_file('parts.css')}\n}}\n{_OWN_CSS}"


def _variables(values: dict[str, str]) -> str:
    return " ".join(f"{name}: {value};" for name, value in values.items())


def script() -> str:
    """The script that sets up players, also of parts that come later."""
    watch = "new MutationObserver(setUpPlayers).observe(document.documentElement, { childList: true, subtree: true });"
    return f"{page_file('player.js')}\n{watch}"


def heading(separators: Sequence[Separator]) -> Markup:
    """The head of the page: the names of the models, and what each of them is."""
    models = names(separators)
    lines = [
        Markup("<p class='intro'>{}{}, {} Hz, {} parameters</p>").format(
            f"{name}: " if len(models) > 1 else "", one.kind, f"{one.sample_rate:,}", parameters(one.n_parameters)
        )
        for name, one in zip(models, separators, strict=True)
    ]
    title = " and ".join(models)
    kicker = Markup("<p class='kicker'>asteroid-stab · separation demo</p>")
    return _stab(kicker + Markup("<h1>{}</h1>").format(title) + Markup("").join(lines))


def names(separators: Sequence[Separator]) -> list[str]:
    """A name for each model, different from the others'."""
    return distinct_names([one.source for one in separators])


def empty() -> Markup:
    """The place of the players before there are any."""
    return _stab(Markup("<p class='intro'>Drop or record a file and press the button: the speakers appear here.</p>"))


def problem(text: str) -> Markup:
    """A sentence on why something could not be done."""
    return _stab(render_parts([Note(text)]))


def separated(
    title: str, models: Sequence[str], separations: Sequence[Separation], took_s: float, address: Address
) -> Markup:
    """The players of a recording: the mixture, and the speakers, a column for each model if there are several.

    Args:
        title: name of the recording.
        models: their names.
        separations: what each of them made of the recording, speakers in one order.
        took_s: seconds that it took.
        address: gives the address of a file.
    """
    first, several = separations[0], len(separations) > 1
    files = [first.mixture, *(file for one in separations for file in one.estimates)]
    peak = max(map(_peak, files))
    gain = PEAK / peak if peak > 0 else 1.0

    def player(name: str, file: Path) -> Player:
        info = sf.info(file)
        alt = f"Spectrogram of {name.lower()} of {title}: 0 to {info.samplerate / 2000:g} kHz, {info.duration:.1f} s"
        return Player(name, address(file), data_uri("image/jpeg", file_spectrogram(file, gain)), alt)

    speakers = [
        [player(f"Speaker {j}" + (f" · {model}" if several else ""), file) for j, file in enumerate(one.estimates, 1)]
        for model, one in zip(models, separations, strict=True)
    ]
    if several:
        longest = max(map(len, speakers))
        left, right = ([*column, *[None] * (longest - len(column))] for column in speakers)
    else:
        padded = [*speakers[0], *[None] * (len(speakers[0]) % 2)]
        left, right = padded[::2], padded[1::2]
    notes = [f"{model}: {one.note}" if several else one.note for model, one in zip(models, separations, strict=True)]
    facts = [duration(first.length_s), *(note for note, one in zip(notes, separations, strict=True) if one.note)]
    detail = " · ".join([*facts, f"separated in {took_s:.1f} s"])
    item = Item(title, detail, player("Mixture", first.mixture), list(zip(left, right, strict=True)))
    return _stab(render_parts([Players("", run_key(0).colour, [item])]))


def about(runs: Sequence[Run]) -> Markup:
    """Main figures, learning curves and switch curves of some runs; of none, a note."""
    if not runs:
        text = "A run folder in place of a model file would show its figures and its label switches here."
        return problem(text)
    figures: list[Part] = [part for part in overview(runs).parts if part.kind != "cards"]
    section = training(runs)
    intro = Markup("<h2>{}</h2><p class='intro'>{}</p>").format("How the labels settled in training", section.intro)
    return _stab(intro + render_parts([*figures, *section.parts]))


def _peak(file: Path) -> float:
    return max((float(np.abs(block).max()) for block in sf.blocks(file, blocksize=_BLOCK)), default=0.0)


def _stab(content: Markup) -> Markup:
    return Markup('<div class="stab">{}</div>').format(escape(content))
