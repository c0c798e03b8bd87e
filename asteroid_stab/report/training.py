"""Learning curves and switch ratios by epoch, all runs in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from asteroid_stab.report.palette import ordered_key, run_key
from asteroid_stab.report.parts import Figure, Key, Note, Part, Section
from asteroid_stab.report.plot import Plot
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import count, number
from asteroid_stab.run.layout import RunLayout

# Columns that count what the training step skipped.
LEFT_OUT = {
    "train/silent_sources": "silent source",
    "train/nonfinite_items": "non-finite item",
    "train/skipped_steps": "optimizer step",
}


def training(runs: Sequence[Run]) -> Section:
    """Pictures by epoch: quality, losses, switches, and the switches of every layer."""
    parts: list[Part] = [*_learning_curves(runs), *_switch_ratios(runs)]
    parts.sort(key=lambda part: isinstance(part, Note))  # pictures side by side, then the notes
    intro = (
        "A switch: a training item is assigned another permutation than in the epoch before. The switch ratio is "
        "undefined in the first epoch."
    )
    return Section("training", "Training", parts, intro)


def _learning_curves(runs: Sequence[Run]) -> Iterator[Part]:
    quality = [(run, values) for run in runs if (values := run.column("val/si_sdr_i")) is not None]
    if quality:
        lines = [(run.name, values, _key(run, runs)) for run, values in quality]
        caption = "Improvement over the mixture on the validation set; higher is better."
        yield _by_epoch("val-si-sdr-i", "Validation SI-SDRi", "SI-SDRi (dB)", "dB", lines, caption)
    losses = []
    for run in runs:
        for column, label, width, opacity in (
            ("train/loss", "training", 1.3, 0.6),
            ("val/loss", "validation", 2.0, 1.0),
        ):
            if (values := run.column(column)) is not None:
                name = f"{run.name}, {label}" if len(runs) > 1 else label
                shown = label if len(runs) == 1 else run.name if label == "validation" else ""
                losses.append((name, values, run_key(run.index, shown, width, opacity)))
    if losses:
        caption = "Thin and pale: training; strong: validation. Each run's own loss function; lower is better."
        yield _by_epoch("loss", "Loss", "loss", "", losses, caption)
    for run in runs:
        totals = {column: run.column(column) for column in LEFT_OUT}
        counts = {column: int(values.sum()) for column, values in totals.items() if values is not None}
        left_out = [count(n, LEFT_OUT[column]) for column, n in counts.items() if n]
        if left_out:
            yield Note(f"{run.name}: the training left out {', '.join(left_out)}, counted over all epochs.")


def switch_ratio(runs: Sequence[Run]) -> Figure | None:
    """A picture of the switch ratio by epoch; None where no run has one."""
    tracked = [run for run in runs if run.switches is not None]
    lines = [(run.name, 100 * values, _key(run, runs)) for run in tracked if len(values := _last(run))]
    if not lines:
        return None
    caption = "Share of the training items whose assignment differs from the epoch before."
    return _by_epoch("switch-ratio", "Switch ratio", "items that switched (%)", "%", lines, caption, zero=True)


def _switch_ratios(runs: Sequence[Run]) -> Iterator[Part]:
    tracked = [run for run in runs if run.switches is not None]
    if (figure := switch_ratio(runs)) is not None:
        yield figure
    whole = [(run, run.whole.set_index("epoch")["switch_ratio"].dropna()) for run in runs if run.whole is not None]
    lines = [(run.name, 100 * values, _key(run, runs)) for run, values in whole if len(values)]
    if lines:
        caption = (
            "The same for whole mixtures, labelled by each epoch's model in evaluation mode (asteroid-stab switches)."
        )
        title = "Switch ratio, whole mixtures"
        yield _by_epoch("switch-ratio-whole", title, "items that switched (%)", "%", lines, caption, zero=True)
    for run in tracked:
        yield from _by_layer(run)
    for run in runs:
        if run.switches is None:
            table = RunLayout(run.path).switches.name
            yield Note(f"{run.name} has no {table}, which the callback AssignmentTracker writes during training.")
        elif not len(_last(run)):
            yield Note(f"{run.name}: its switch ratio is defined from the second epoch on.")


def _last(run: Run) -> pd.Series:
    values = run.switch_ratio()
    assert values is not None
    return values


def _key(run: Run, runs: Sequence[Run]) -> Key:
    """The look of the run's lines, with a legend entry if there are other runs."""
    return run_key(run.index, run.name if len(runs) > 1 else "")


def layer_correlations(run: Run, layers: Sequence[int]) -> list[float]:
    """Pearson's correlation of each earlier layer's switch ratios with the last layer's; nan where it is undefined.

    Low values are what Gao et al. (arXiv 2311.12199) call layer-decoupling.
    """
    last = run.switch_ratio(layers[-1])
    curves = [run.switch_ratio(layer) for layer in layers[:-1]]
    return [float("nan") if c is None or last is None or len(c) < 3 else float(c.corr(last)) for c in curves]


def _coupling(run: Run, layers: Sequence[int]) -> str:
    values = [f"layer {layer}: {number(r)}" for layer, r in zip(layers, layer_correlations(run, layers), strict=False)]
    return " Correlation with the last layer's curve: " + ", ".join(values) + "." if values else ""


def _by_layer(run: Run) -> list[Part]:
    """A picture of the switch ratio of every layer, if the run has several."""
    assert run.switches is not None
    layers = sorted({int(layer) for layer in run.switches["layer"]})
    curves = [(f"layer {layer}", run.switch_ratio(layer)) for layer in layers]
    lines = [
        (label, 100 * values, ordered_key(position, len(layers), label))
        for position, (label, values) in enumerate(curves)
        if values is not None and len(values)
    ]
    if len(layers) < 2 or not lines:
        return []
    caption = "From the first layer (dark) to the last (bright)." + _coupling(run, layers)
    name = f"switch-ratio-layers-{run.index}"
    return [_by_epoch(name, f"By layer: {run.name}", "items that switched (%)", "%", lines, caption, zero=True)]


def _by_epoch(
    name: str,
    title: str,
    ylabel: str,
    unit: str,
    lines: Sequence[tuple[str, pd.Series, Key]],
    caption: str,
    zero: bool = False,
) -> Figure:
    """A picture of (label, values by epoch, look) lines; ``zero`` starts the vertical axis at 0."""
    ends = [
        f"{label}: {number(values.iloc[0], 2, unit)} at epoch {values.index[0]}, "
        f"{number(values.iloc[-1], 2, unit)} at epoch {values.index[-1]}"
        for label, values, _ in lines
    ]
    plot = Plot(name, "epoch", ylabel, alt=f"Line chart of {title} by epoch. {'; '.join(ends)}.")
    for label, values, key in lines:
        tips = [f"{label}, epoch {epoch}: {number(value, 2, unit)}" for epoch, value in values.items()]
        plot.line(list(values.index), list(values), key, tips)
    plot.whole_numbers()
    if zero:
        plot.axes.set_ylim(bottom=0)
    return Figure(plot.svg(), title, plot.alt, caption, [key for _, _, key in lines if key.label])
