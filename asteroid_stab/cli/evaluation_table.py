"""An evaluation's summary as a user reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

# Column, name, digits. The SAR of a noiseless mixture is infinite, so what a model adds to it means nothing.
ROWS = (
    ("si_sdr", "SI-SDR dB", 2),
    ("si_sdr_i", "SI-SDRi dB", 2),
    ("sdr", "SDR dB", 2),
    ("sdr_i", "SDRi dB", 2),
    ("sir", "SIR dB", 2),
    ("sir_i", "SIRi dB", 2),
    ("sar", "SAR dB", 2),
    ("stoi", "STOI", 3),
    ("stoi_i", "STOIi", 3),
    ("pesq", "PESQ", 3),
    ("pesq_i", "PESQi", 3),
    ("input_snr", "input SNR dB", 2),
)
NAMED_FAILURES = 5


def show(summary: dict[str, Any]) -> None:
    """Prints the table, what is undefined and why, and the line ``SPLIT SI-SDRi: X.XX dB``.

    Args:
        summary: what ``summary.json`` holds.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has no width of its own; 80 would break the rows
    console.print(_table(summary))
    n = summary["n"]
    for metric, reasons in summary["failure_reasons"].items():
        named = [f"{name} ({reason})" for name, reason in list(reasons.items())[:NAMED_FAILURES]]
        more = f" and {len(reasons) - NAMED_FAILURES} more" if len(reasons) > NAMED_FAILURES else ""
        print(f"{metric} is undefined for {len(reasons)} of {n} mixtures: {', '.join(named)}{more}")
    if "compute" in summary:
        compute = summary["compute"]
        print(f"compute: {100 * compute['share']:.0f} % of {compute['most']} iterations a mixture")
    fallbacks = summary["reference_fallbacks"]
    if fallbacks:
        print(
            f"SDR, SIR and SAR of {len(fallbacks)} of {n} mixtures were computed by pb_bss_eval, "
            f"for numerical reasons: {', '.join(list(fallbacks)[:NAMED_FAILURES])}"
        )
    print(f"{summary['split']} SI-SDRi: {summary['metrics']['si_sdr_i']['mean']:.2f} dB")


def _table(summary: dict[str, Any]) -> Table:
    from rich.table import Table

    from asteroid_stab.metrics.summary import PERCENTILES

    title = f"{summary['split']}: {summary['n']} mixtures, percentiles from low to high"
    table = Table("metric", "mean ± std", *(f"p{p}" for p in PERCENTILES), "n", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    measured = [(label, summary["metrics"][name], digits) for name, label, digits in ROWS if name in summary["metrics"]]
    if "compute" in summary:
        measured.append(("iterations", summary["metrics"]["n_iterations"], 2))
    classes = [(f"SI-SDRi of {name}", numbers, 2) for name, numbers in summary.get("classes", {}).items()]
    for label, numbers, digits in measured + classes:
        cells = {key: "-" if numbers[key] is None else f"{numbers[key]:.{digits}f}" for key in numbers if key != "n"}
        mean, std, *percentiles = cells.values()
        table.add_row(label, f"{mean} ± {std}", *percentiles, str(numbers["n"]))
    return table
