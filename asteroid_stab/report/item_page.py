"""A page about one training item: which estimate each speaker got, epoch by epoch, and its sounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import item_reference
from asteroid_stab.report.item_history import History
from asteroid_stab.report.listening import make_player
from asteroid_stab.report.page import render_sections
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Figure, Item, Note, Part, Players, Section, Table
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.spectrogram import PEAK
from asteroid_stab.report.wording import UNDEFINED, count
from asteroid_stab.run.assignments import UNSEEN

LONGEST_S = 30.0  # of a sound on the page


def render_item(
    name: str, item: int, histories: Mapping[str, History], dataset: MixtureDataset, ratio: Figure | None
) -> str:
    """The HTML page of an item.

    Args:
        name: name of the item.
        item: its id.
        histories: its assignments in each run, by the run's name.
        dataset: whole training mixtures of the first run.
        ratio: the switch ratio of the runs over all items; None where they have none.

    Raises:
        StabError: the data set has no item of this name, or another number of sources.
    """
    parts: list[Part] = [*charts(histories, "Labels"), *([ratio] if ratio else [])]
    rows = [[run, *_figures(one)] for run, one in histories.items()]
    keys = [run_key(index) for index in range(len(rows))]
    parts.append(Table("Switches of this item", ["Run", "epochs", "switches", "last switch"], rows, keys))
    intro = (
        f"{name}. Each line is an output of the model; its height is the speaker to whom the loss assigned it. Where "
        "lines cross, the labels have switched: the same output was trained towards another speaker than before."
    )
    sections = [
        Section("overview", "Which estimate went to which speaker", parts, intro),
        _listen(name, dataset, next(iter(histories.values())).perm.shape[1]),
    ]
    return render_sections(f"Labels of item {item}", [run_key(i, run) for i, run in enumerate(histories)], sections)


def charts(histories: Mapping[str, History], title: str) -> list[Figure]:
    """A picture for each run, as :func:`chart` draws it.

    Args:
        histories: assignments of one item by the run's name.
        title: the heading, to which the name of the run is added if there are several.
    """
    of_runs = enumerate(histories.items())
    several = len(histories) > 1
    return [chart(f"labels-{i}", f"{title}: {run}" if several else title, one) for i, (run, one) in of_runs]


def chart(ident: str, title: str, history: History) -> Figure:
    """A picture of which estimate each speaker got in each epoch.

    Args:
        ident: name of the picture, unique within its page.
        title: its heading.
        history: the assignments.
    """
    epochs, perm, n_src = history.epochs, history.perm, history.perm.shape[1]
    switches = int(history.switched.sum())
    words = f"the assignment switches {count(switches, 'time')} in {count(len(epochs), 'epoch')}"
    plot = Plot(ident, "epoch", "", alt=f"Lines of {n_src} estimates over the epochs, by speaker: {words}.")
    size = float(np.clip(220 / len(epochs), 2.5, 9.0))
    for estimate in range(n_src):
        key = run_key(estimate)
        at, speaker = np.nonzero(perm == estimate)
        # An estimate that went to several speakers, as multiple choice learning may let it, has points and no line.
        once = (perm == estimate).sum(axis=1) == 1
        plot.curve(epochs, np.where(once, (perm == estimate).argmax(axis=1) + 1.0, np.nan), key)
        tips = [
            f"epoch {epochs[e]}: speaker {j + 1} gets estimate {estimate + 1}"
            + (" (switched)" if history.switched[e] else "")
            for e, j in zip(at, speaker, strict=True)
        ]
        if tips:
            plot.marks(epochs[at], speaker + 1.0, key, size, tips)
        for j in np.flatnonzero(perm[-1] == estimate):
            plot.label(float(epochs[-1]), j + 1.0, f"estimate {estimate + 1}", key)
    plot.whole_numbers()
    plot.axes.set_yticks(range(1, n_src + 1), [f"speaker {j}" for j in range(1, n_src + 1)])
    plot.axes.set_ylim(n_src + 0.5, 0.5)
    plot.axes.grid(visible=False, axis="y")
    return Figure(plot.svg(), title, plot.alt, f"{words[:1].upper()}{words[1:]}.")


def _figures(history: History) -> list[str]:
    seen = int((history.perm != UNSEEN).all(axis=1).sum())
    switched = history.epochs[history.switched]
    return [str(seen), str(len(switched)), f"epoch {switched[-1]}" if len(switched) else UNDEFINED]


def _listen(name: str, dataset: MixtureDataset, n_src: int) -> Section:
    """The players of the mixture and of its sources, from the beginning of the item on."""
    where = next((i for i, other in enumerate(dataset.names) if other == name), None)
    if where is None:
        raise StabError(f"the training data have no item {name!r}: they have changed since the run")
    mixture, sources = dataset.audio(0, where)
    mixture = item_reference(mixture)
    if len(sources) != n_src:
        raise StabError(f"item {name!r} must have the {n_src} sources of the run, got {len(sources)}")
    whole_s = len(mixture) / dataset.sample_rate
    n_shown = int(LONGEST_S * dataset.sample_rate)
    peak = max(float(np.abs(sound[:n_shown]).max(initial=0)) for sound in (mixture, *sources))
    gain = PEAK / peak if peak > 0 else 1.0
    first, *voices = (
        make_player(title, gain * sound[:n_shown].astype(np.float64), dataset.sample_rate, name)
        for title, sound in [("Mixture", mixture), *((f"Speaker {j}", s) for j, s in enumerate(sources, start=1))]
    )
    padded = [*voices, *[None] * (len(voices) % 2)]
    cut = f"first {LONGEST_S:g} s of {whole_s:.1f} s" if whole_s > LONGEST_S else f"{whole_s:.1f} s"
    item = Item("The item", cut, first, list(zip(padded[::2], padded[1::2], strict=True)))
    parts: list[Part] = [Players("", run_key(0).colour, [item])]
    parts.append(Note("In training an epoch hears a crop of the item, which may hold fewer speakers than the whole."))
    intro = "The mixture and its speakers, as the training data have them: numbered as in the picture above."
    return Section("listening", "Listen", parts, intro)
