"""Results of the arena that are kept in the repository: of the rows as they stand in its files, and readable."""

from pathlib import Path

from asteroid_stab.cli.main import main
from asteroid_stab.run.layout import StudyLayout, study_runs
from asteroid_stab.run.study_record import read_record
from asteroid_stab.run.study_rows import read_rows

ARENA = Path(__file__).parents[2] / "egs" / "arena"
RESULTS = ARENA / "results"


def test_the_results_are_of_the_rows_of_the_files():
    rows = {row.name: [row.recipe, *row.words] for row in read_rows(sorted(ARENA.glob("*.rows")))}
    kept = read_record(StudyLayout(RESULTS))
    assert {run.root.parts[-2] for run in study_runs(RESULTS)} == {*kept}
    for row, words in kept.items():
        changes = [word for word in rows[row] if not word.startswith("trainer.")]  # which a resumed run may change
        assert words == changes


def test_the_tables_are_printed_without_a_training(capsys):
    assert main(["compare", str(RESULTS), "--baseline", "pit"]) == 0
    results, _, differences = capsys.readouterr().out.partition("\n\n")
    assert "| pit | 3 |" in results or "| pit | 2 |" in results
    assert len(differences.splitlines()) == 2 + len(read_record(StudyLayout(RESULTS))) - 1
