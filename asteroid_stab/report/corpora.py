"""The evaluations of the runs on several corpora, beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asteroid_stab.metrics.names import column_info
from asteroid_stab.report.evaluation_data import WrittenEvaluation
from asteroid_stab.report.metric_tables import score_cells
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Key, Note, Part, Section, Table
from asteroid_stab.report.run_data import Run

OWN = "the run's own"


def corpora(runs: Sequence[Run]) -> Section | None:
    """A table with a row for each corpus, run and variant; ``None`` where no run has another corpus than its own."""
    if not any(run.others for run in runs):
        return None
    lines = list(_lines(runs))
    several = len(runs) > 1
    scores, *cells = score_cells([one for _, one, _ in lines])
    head = ["Corpus", *(["Run"] if several else []), "Variant", *scores]
    rows = [
        [one.corpus or OWN, *([run.name] if several else []), one.of or "-", *numbers]
        for (run, one, _), numbers in zip(lines, cells, strict=True)
    ]
    keys = [key for _, _, key in lines] if several else []
    title = f"{column_info('si_sdr_i').label} by corpus; the last columns are means"
    parts: list[Part] = [Table(title, head, rows, keys)]
    parts += [
        Note(f"{run.name}, {one.corpus}: the model file was written after this evaluation.", one.command)
        for run, one, _ in lines
        if one.of_another_model and one.corpus
    ]
    intro = (
        "The same models on corpora that they were not trained on (asteroid-stab evaluate RUN data=CORPUS, or files): "
        "how far the numbers of the own test set hold elsewhere."
    )
    return Section("corpora", "Other corpora", parts, intro)


def _lines(runs: Sequence[Run]) -> Iterator[tuple[Run, WrittenEvaluation, Key]]:
    """The evaluations by corpus, the own ones first, and in each by run."""
    own = [(run, run.evaluation, run_key(run.index)) for run in runs if run.evaluation is not None]
    others = [(run, one, run_key(run.index)) for run in runs for one in run.others]
    yield from own
    yield from sorted(others, key=lambda line: line[1].corpus)
