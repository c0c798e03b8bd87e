"""Prints an evaluation's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asteroid_stab.metrics.names import (
    INPUT_SNR,
    MEANINGLESS,
    METRICS,
    NUMBERS,
    ORACLES,
    PERCENTILES,
    FigureInfo,
    MetricInfo,
    column_info,
)
from asteroid_stab.report.wording import count

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = [name for metric in METRICS for name in (metric, f"{metric}_i") if name not in MEANINGLESS] + [INPUT_SNR]
NAMED_FAILURES = 5


def show(summary: dict[str, Any]) -> None:
    """Prints the table, the undefined values with their reasons, and the line ``SPLIT SI-SDRi: X.XX dB (n = N)``.

    Args:
        summary: the content of ``summary.json``.
    """
    from asteroid_stab.printed import print_table

    print_table(_table(summary), log_width=120)  # 80 would break the rows
    n = summary["n"]
    for metric, reasons in summary["failure_reasons"].items():
        named = [f"{name} ({reason})" for name, reason in list(reasons.items())[:NAMED_FAILURES]]
        more = f" and {len(reasons) - NAMED_FAILURES} more" if len(reasons) > NAMED_FAILURES else ""
        print(f"{metric} is undefined for {len(reasons)} of {n} mixtures: {', '.join(named)}{more}")
    for name, info in _figures(summary).items():
        if info.is_cost and info.most:
            share = summary["metrics"][name]["mean"] / info.most
            print(f"compute: {100 * share:.0f} % of at most {info.most:g} {info.label} a mixture")
    _show_cost(summary.get("cost"))
    _show_words(summary.get("words"))
    _show_counting(summary)
    fallbacks = summary["reference_fallbacks"]
    if fallbacks:
        print(
            f"SDR, SIR and SAR of {len(fallbacks)} of {n} mixtures were computed by pb_bss_eval, "
            f"for numerical reasons: {', '.join(list(fallbacks)[:NAMED_FAILURES])}"
        )
    # No improvement where nothing is mixed, or the mixtures are not known.
    name = "si_sdr_i" if summary["metrics"].get("si_sdr_i", {}).get("n") else "si_sdr"
    numbers = summary["metrics"][name]
    corpus = f" of {summary['corpus']}" if summary.get("corpus") else ""
    print(f"{summary['split']}{corpus} {column_info(name).label}: {numbers['mean']:.2f} dB (n = {numbers['n']})")


def _show_cost(cost: dict[str, Any] | None) -> None:
    """Prints the model's cost, where it was measured; evaluations of earlier versions have none."""
    if cost is None:
        return
    gmacs = cost["gmacs_per_s"]
    uncounted = f"MACs not counted ({cost['uncounted']})"
    macs = uncounted if gmacs is None else f"{gmacs:.3f} G MACs for a second of sound"
    threads = f", {count(cost['n_threads'], 'thread')}" if cost["device"] == "cpu" else ""
    print(
        f"cost: {cost['n_parameters']:,} parameters, {macs}, real-time factor {cost['real_time_factor']:.3f} "
        f"({cost['device']}{threads})"
    )


def _show_words(words: dict[str, Any] | None) -> None:
    """Prints the word error rates over all words, where they were counted."""
    if words:
        print(f"WER {words['wer']:.1f} %, cpWER {words['cpwer']:.1f} % of all {words['n_words']:,} words")


def _show_counting(summary: dict[str, Any]) -> None:
    """Prints how often the active estimates were as many as the sources, for each number of sources."""
    counting = summary.get("counting")
    if not counting:
        return
    for true, found in counting["table"].items():
        n = sum(found.values())
        others = [f"{number} in {100 * count / n:.0f}%" for number, count in found.items() if number != true]
        missed = f"; counted {', '.join(others)}" if others else ""
        print(f"J = {true}: counted right in {100 * found.get(true, 0) / n:.0f}% of {n} mixtures{missed}")
    print(f"counting accuracy: {100 * counting['accuracy']:.1f}%")


def _figures(summary: dict[str, Any]) -> dict[str, FigureInfo]:
    return {name: FigureInfo(**info) for name, info in summary.get("figures", {}).items()}


def _table(summary: dict[str, Any]) -> Table:
    from rich.table import Table

    kind = summary.get("oracle") or ""
    separated_by = ORACLES.get(kind, kind) or summary.get("variant")
    variant = f", {separated_by}" if separated_by else ""
    corpus = f" of {summary['corpus']}" if summary.get("corpus") else ""
    target = f" against their {summary['target']} references" if summary.get("target") else ""
    n, n_of = summary["n"], summary.get("n_of")
    part = f"first {n} of {n_of}" if n_of and n < n_of else n
    title = f"{summary['split']}{corpus}{variant}: {part} mixtures{target}, percentiles from low to high"
    table = Table("metric", "mean ± std", *(f"p{p}" for p in PERCENTILES), "n", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    figures, metrics = _figures(summary), summary["metrics"]
    rows = [(column_info(name, figures), metrics[name]) for name in [*COLUMNS, *figures] if name in metrics]
    gain = column_info("si_sdr_i")
    for name, numbers in summary.get("classes", {}).items():
        rows.append((MetricInfo(f"{gain.label} of {name}", digits=gain.digits), numbers))
    for number, of_number in summary.get("by_n_active", {}).items():
        name = "si_sdr_i" if of_number["si_sdr_i"]["n"] else "si_sdr"
        rows.append((MetricInfo(f"{column_info(name).label}, J = {number}", digits=2), of_number[name]))
    for info, numbers in rows:
        cells = ["-" if numbers[key] is None else f"{numbers[key]:.{info.digits}f}" for key in NUMBERS]
        label = f"{info.label} {info.unit}" if info.unit else info.label
        table.add_row(label, f"{cells[0]} ± {cells[1]}", *cells[2:], str(numbers["n"]))
    return table
