"""The head of the report: the results of each run, and its origin."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from asteroid_stab.metrics.names import COSTS
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Cards, Facts, Note, Part, Section, Table
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import UNDEFINED, count, duration, number, parameters, percent, plus_minus
from asteroid_stab.run.layout import RunLayout

MOST_CARDS = 3  # a row of them; more would push the figures down the page
MAIN_PACKAGES = ("asteroid-stab", "asteroid", "torch", "pytorch-lightning")


def overview(runs: Sequence[Run]) -> Section:
    """The results: large numbers for one run, a table for several; then the origin of each run."""
    several = len(runs) > 1
    results = [_results(run) for run in runs]
    keys = [run_key(run.index) for run in runs]
    parts: list[Part] = []
    if several:
        head = ["Run", *(f"{name} ({unit})" if unit else name for name, _, unit, _ in results[0])]
        rows = [[run.name, *(value for _, value, _, _ in row)] for run, row in zip(runs, results, strict=True)]
        parts.append(Table("Results of the runs", head, rows, keys))
    else:
        facts = [(name, _with(value, unit), detail) for name, value, unit, detail in results[0]]
        parts.append(Facts(facts))
    for run in runs:
        parts += _missing(run)
    names = [run.name if several else "" for run in runs]
    cards = [(name, key.colour, _origin(run)) for name, key, run in zip(names, keys, runs, strict=True)]
    parts.append(Cards("Where the runs come from", cards, folded=len(runs) > MOST_CARDS))
    return Section("overview", "Overview", parts)


def _results(run: Run) -> list[tuple[str, str, str, str]]:
    """Returns (name, value, unit, detail) of each number that describes the whole run."""
    test = run.metric("si_sdr_i")
    of_split = f"{run.split.capitalize()} SI-SDRi"
    median = number(test["p50"] if test else None)
    n_measured = int(run.evaluation.utterances["si_sdr_i"].notna().sum()) if run.evaluation else 0
    over = f"mean ± std over {count(n_measured, 'mixture')}" if run.evaluation else ""
    validation = run.validation
    best = UNDEFINED if validation is None else number(validation.max())
    best_at = "" if validation is None else f"at epoch {validation.idxmax()}"
    switches = run.switch_ratio()
    defined = switches is not None and len(switches) > 0
    switched = percent(float(switches.iloc[-1])) if defined else UNDEFINED  # type: ignore[union-attr]
    switched_in = f"in epoch {switches.index[-1]}" if defined else ""  # type: ignore[union-attr]
    seconds = run.column("seconds")
    time = UNDEFINED if seconds is None else duration(float(seconds.sum()))
    per_epoch = "" if seconds is None else f"{duration(float(seconds.mean()))} per epoch"
    return [
        (of_split, plus_minus(test), "dB", over or "not evaluated"),
        (f"{run.split.capitalize()} median", median, "dB", ""),
        ("Best validation SI-SDRi", best, "dB", best_at),
        ("Final switch ratio", switched, "", switched_in),
        ("Epochs", "0" if run.metrics is None else str(len(run.metrics)), "", ""),
        ("Parameters", parameters(run.versions.get("n_parameters")), "", ""),
        ("Training time", time, "", per_epoch),
        *_cost(run),
    ]


def _cost(run: Run) -> list[tuple[str, str, str, str]]:
    """Returns the operations and the time of the model; dashes where they were not measured."""
    measured = run.evaluation.cost if run.evaluation else {}
    names = {"gmacs_per_s": "Computation", "real_time_factor": "Real-time factor"}
    details = {"gmacs_per_s": "multiply-accumulate operations for a second of sound"}
    details |= {"real_time_factor": "seconds for a second of sound, on the machine that evaluated"}
    units = {"gmacs_per_s": "G MACs"}
    return [
        (title, number(measured.get(name), COSTS[name].digits), units.get(name, ""), details[name] if measured else "")
        for name, title in names.items()
    ]


def _with(value: str, unit: str) -> str:
    return f"{value} {unit}" if unit and value != UNDEFINED else value


def _missing(run: Run) -> Iterator[Note]:
    if run.metrics is None:
        command = f"asteroid-stab train resume={shlex.quote(str(run.path))}"
        yield Note(f"{run.name} has no {RunLayout(run.path).metrics.name}: no epoch has ended.", command)
    if run.evaluation is None:
        yield Note(f"{run.name} has not been evaluated on the {run.split} split.", run.evaluate_command)


def _origin(run: Run) -> list[tuple[str, str, bool]]:
    """Returns (name, text, whether it is code) of each fact about a run's origin; "not recorded" if it is unknown."""
    versions = run.versions
    packages = {name.replace("_", "-").lower(): number for name, number in versions.get("packages", {}).items()}
    main = [f"{name} {packages[name]}" for name in MAIN_PACKAGES if name in packages]
    python = [f"Python {versions['python']}"] if "python" in versions else []
    git = versions.get("git") or {}
    commit = str(git.get("commit") or "")[:12]
    n_parameters = versions.get("n_parameters")
    device = ", ".join(str(versions[key]) for key in ("device", "machine") if versions.get(key))
    facts = [
        ("Recipe", versions.get("recipe"), False),
        ("Date", run.date, False),
        ("Command", versions.get("command"), True),
        ("Git", f"{commit}, with uncommitted changes" if commit and git.get("dirty") else commit, False),
        ("Versions", ", ".join(python + main), False),
        ("Device", device, False),
        ("Parameters", None if n_parameters is None else f"{n_parameters:,}", False),
        ("Folder", str(run.path), True),
        ("Evaluation", run.evaluation.command if run.evaluation else "", True),
    ]
    return [(name, str(text or "not recorded"), is_code and bool(text)) for name, text, is_code in facts]
