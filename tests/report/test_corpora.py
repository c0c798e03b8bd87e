import json
import shutil

from asteroid_stab.report.corpora import corpora
from asteroid_stab.report.page import render
from asteroid_stab.report.run_data import read_runs


def on_other_corpora(run, *names, variant=""):
    """Copies the run's evaluation under the names of other corpora."""
    for name in names:
        folder = run / "evaluation" / f"test{'_' + variant if variant else ''}@{name}"
        shutil.copytree(run / "evaluation" / "test", folder)
        file = folder / "summary.json"
        summary = json.loads(file.read_text()) | {"corpus": name, "variant": variant or None}
        summary["metrics"]["si_sdr_i"]["mean"] = -1.25
        file.write_text(json.dumps(summary))


def test_a_run_on_its_own_corpus_has_no_such_section(make_run):
    assert corpora(read_runs([make_run("a")])) is None


def test_corpora_stand_beside_each_other(make_run):
    first, second = make_run("a"), make_run("b")
    on_other_corpora(first, "wham", "librispeech")
    on_other_corpora(first, "wham", variant="stage1")
    on_other_corpora(second, "wham")
    runs = read_runs([first, second])
    (table,) = corpora(runs).parts
    assert [row[:3] for row in table.rows] == [
        ["the run's own", "a", "-"],
        ["the run's own", "b", "-"],
        ["librispeech", "a", "-"],
        ["wham", "a", "-"],
        ["wham", "a", "stage1"],
        ["wham", "b", "-"],
    ]
    assert table.rows[2][4].startswith("−1.25 ± ")
    assert table.head[-1] == "PESQi"
    assert len(table.keys) == 6
    assert runs[0].variants == []
    (alone,) = corpora(read_runs([second])).parts
    assert [row[:2] for row in alone.rows] == [["the run's own", "-"], ["wham", "-"]]
    assert "Other corpora" in render(runs)


def test_an_evaluation_of_an_earlier_model_is_noted(make_run):
    run = make_run("a")
    on_other_corpora(run, "wham")
    file = run / "evaluation" / "test@wham" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_sha256": "0" * 64}))
    (run / "best_model.pth").write_bytes(b"newer")
    _, note = corpora(read_runs([run])).parts
    assert note.text == "a, wham: the model file was written after this evaluation."
    assert note.command == "asteroid-stab evaluate RUN"
