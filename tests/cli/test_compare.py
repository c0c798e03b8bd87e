"""asteroid-stab compare: the table of a study."""

import json
import math
import os

import pandas as pd
import pytest

from asteroid_stab.cli.main import main
from asteroid_stab.run.study import spread


@pytest.fixture
def study(tmp_path):
    """Two rows, begun in the order b, a; row b with two seeds, one of them not evaluated and without a tracker."""
    begun = 1_000_000_000
    for row, seed, valid, test, switched in (
        ("b", 1, 4.0, 3.0, 0.2),
        ("b", 2, 6.0, None, None),
        ("a", 1, 5.0, 2.5, 0.1),
    ):
        run = tmp_path / row / str(seed)
        (run / "evaluation" / "test").mkdir(parents=True)
        (run / "config.yaml").write_text("recipe: x/y\n")
        os.utime(run / "config.yaml", (begun, begun))
        begun += 1
        table = {"epoch": [0, 1], "step": [10, 20], "val/si_sdr_i": [valid - 1, valid], "seconds": [5.0, 5.0]}
        pd.DataFrame(table).to_csv(run / "metrics.csv", index=False)
        if switched is not None:
            rows = {"epoch": [0, 1], "layer": 0, "switch_ratio": [None, switched]}
            pd.DataFrame(rows).to_csv(run / "switches.csv", index=False)
        if test is not None:
            summary = {"metrics": {"si_sdr_i": {"mean": test, "p10": test - 2}}, "failures": {}, "command": "c"}
            (run / "evaluation" / "test" / "summary.json").write_text(json.dumps(summary))
            table = pd.DataFrame({"name": ["m"], "si_sdr_i": [test], "input_si_sdr": [0.0]})
            table.to_csv(run / "evaluation" / "test" / "utterances.csv", index=False)
    return tmp_path


def test_rows_have_mean_and_spread_over_seeds(study, capsys):
    assert main(["compare", str(study)]) == 0
    table, _, compared = capsys.readouterr().out.partition("\n\n")
    head, rule, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    assert head[:6] == ["row", "seeds", "epochs", "test SI-SDRi, dB", "10th percentile, dB", "mixtures"]
    assert set(rule) == {"---"}
    assert rows == [
        [
            "b",
            "2",
            "2",
            "3.00 (1 of 2)",
            "1.00 (1 of 2)",
            "1 (1 of 2)",
            "5.00 ± 1.41",
            *["20.0 (1 of 2)"] * 2,
            "2.00 ± 0.00",
        ],
        ["a", "1", "2", "2.50", "0.50", "1", "5.00", "10.0", "10.0", "2.00"],
    ]
    assert compared.splitlines()[2:] == ["| a | b | 1 | 1 | -0.50 | not known: one mixture of one seed |"]


def test_results_are_kept_and_read_like_the_study(study, tmp_path_factory, capsys):
    kept = tmp_path_factory.mktemp("kept") / "results"
    assert main(["compare", str(study), "--keep", str(kept)]) == 0
    shown, _, said = capsys.readouterr().out.rpartition("\n\n")
    assert said == f"the results of 2 runs are in {kept}\nleft out: b/2, no evaluation of test\n"
    assert main(["compare", str(kept), "--baseline", "b"]) == 0
    assert "| a | b | 1 | 1 | -0.50 |" in shown
    assert "| a | b | 1 | 1 | -0.50 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "message"),
    [("{study}", "beside it, not in it or around it"), ("{study}/b", "not in it"), ("/dev/null/x", "cannot write to")],
)
def test_results_can_not_be_kept_everywhere(study, capsys, place, message):
    picture = study / "a.svg"
    assert main(["compare", str(study), "--picture", str(picture), "--keep", place.format(study=study)]) == 2
    assert message in capsys.readouterr().err
    assert not picture.exists()


@pytest.fixture
def elsewhere(study):
    """The study, of which two runs were evaluated on another corpus too."""
    for run, score in (("b/2", 1.5), ("a/1", 2.5)):
        folder = study / run / "evaluation" / "test@wham"
        folder.mkdir()
        numbers = {"mean": score, "p10": score - 1}
        cost = {"n_parameters": 7, "gmacs_per_s": 0.5, "real_time_factor": 0.25, "length_s": 1.0, "n_threads": 1}
        summary = {"metrics": {"si_sdr_i": numbers}, "failures": {}, "command": "c", "corpus": "wham"}
        summary["cost"] = {**cost, "device": "cpu", "uncounted": ""}
        (folder / "summary.json").write_text(json.dumps(summary))
        table = {"name": [*"mnop"], "si_sdr_i": score, "input_si_sdr": 0.0, "input_snr": [1.0, 2.0, 3.0, 4.0]}
        pd.DataFrame(table).to_csv(folder / "utterances.csv", index=False)
    return study


def test_results_on_another_corpus_are_kept(elsewhere, capsys, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept") / "results"
    assert main(["compare", str(elsewhere), "--corpus", "wham", "--keep", str(kept)]) == 0
    assert "left out: b/1, no evaluation of test of wham" in capsys.readouterr().out
    assert main(["compare", str(kept), "--corpus", "wham"]) == 0


def test_another_corpus_is_compared_by_its_name(elsewhere, capsys, tmp_path):
    argv = ["compare", str(elsewhere), "--corpus", "wham"]
    assert main([*argv, "--page", str(tmp_path / "page.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert cells[0][3] == "test of wham SI-SDRi, dB"
    assert [(row[0], row[3], row[5]) for row in cells[2:]] == [("b", "1.50 (1 of 2)", "4 (1 of 2)"), ("a", "2.50", "4")]
    assert "test of wham SI-SDRi" in (tmp_path / "page.html").read_text()
    assert main([*argv, "--distribution", "--picture", str(tmp_path / "p.svg")]) == 0
    assert "| a | mixtures | 2.50 |" in capsys.readouterr().out
    assert "test of wham SI-SDRi, dB" in (tmp_path / "p.svg").read_text()
    assert main([*argv, "--cost"]) == 0
    assert "| a | 1 | 7 | 0.500 | 0.250 |" in capsys.readouterr().out
    assert main([*argv, "--by-snr"]) == 0
    assert "| a | test of wham SI-SDRi, dB | 2.50 | 2.50 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corpus", "whom"], "evaluation of test of whom (did you mean 'wham'?); there are evaluations of wham"),
        (["--corpus", "wham", "--split", "valid"], "of valid of wham; there are none of other corpora"),
        (["--corpus", "../x"], "--corpus must be a name of at most 100 letters"),
        (["--corpus", "wham", "--by-epoch"], "--corpus chooses evaluations, and --by-epoch shows the training"),
        (["--corpus", "wham", "--reach", "a"], "--corpus chooses evaluations, and --reach shows the training"),
    ],
)
def test_a_corpus_that_cannot_be_compared(elsewhere, words, message, capsys):
    assert main(["compare", str(elsewhere), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_part_of_the_mixtures_and_other_references_are_named(elsewhere, capsys):
    for run, entries in (("b/2", {"n_of": 9}), ("a/1", {"n_of": 4, "target": "early"})):
        file = elsewhere / run / "evaluation/test@wham/summary.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    assert main(["compare", str(elsewhere), "--corpus", "wham"]) == 0
    out = capsys.readouterr().out
    assert (
        "note: these rows cannot be compared, they were evaluated on different mixtures: b on 4; a on 4 against" in out
    )
    assert "note: runs were evaluated on the first 4 of 9 mixtures alone (evaluate --limit)" in out
    assert "compared with" not in out


def test_rows_are_in_the_order_of_their_study_and_the_first_is_the_baseline(study, capsys):
    (study / "study.json").write_text('{"rows": {"a": ["x/y"], "c": ["x/y"], "b": ["x/y"]}}')
    for option in ([], ["--by-epoch"], ["--distribution"]):
        assert main(["compare", str(study), *option]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line[:4] for line in lines[2:4]] == ["| a ", "| b "]
    assert main(["compare", str(study)]) == 0
    assert "| b | a | 1 | 1 | +0.50 |" in capsys.readouterr().out
    assert main(["compare", str(study), "--baseline", "b"]) == 0
    assert "| a | b | 1 | 1 | -0.50 |" in capsys.readouterr().out
    assert main(["compare", str(study), "--baseline", "c"]) == 2
    assert "the study has no row 'c'" in capsys.readouterr().err
    (study / "study.json").write_text("{}")
    assert main(["compare", str(study)]) == 2
    assert "is no readable record of a study" in capsys.readouterr().err


def test_an_evaluation_of_an_older_model_does_not_count(study, capsys):
    (study / "a" / "1" / "best_model.pth").write_bytes(b"newer")
    summary = study / "a" / "1" / "evaluation" / "test" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "model_sha256": "of the older"}))
    assert main(["compare", str(study)]) == 0
    assert "| a | 1 | 2 | – | – | – | 5.00 |" in capsys.readouterr().out


def test_a_folder_without_runs_is_told(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    assert "holds no runs ROW/SEED" in capsys.readouterr().err


def with_distribution(study):
    for i, folder in enumerate(sorted(study.glob("*/*/evaluation/test"))):
        summary = json.loads((folder / "summary.json").read_text()) if (folder / "summary.json").exists() else None
        if summary:
            numbers = {
                "n": 7 + i,
                "mean": 3.0 + i,
                "std": 2.0,
                **{f"p{p}": p / 10 + i for p in (1, 5, 10, 25, 50, 75, 90, 95, 99)},
            }
            summary["metrics"]["si_sdr_i"] = numbers
            summary["classes"] = {"speech": {**numbers, "mean": 4.0 + i}} if i else {}
            (folder / "summary.json").write_text(json.dumps(summary))
    return study


def test_the_distribution_is_a_table_of_percentiles_and_classes(study, capsys):
    assert main(["compare", str(with_distribution(study)), "--distribution"]) == 0
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:5] == ["row", "of", "mean", "std", "q1"]
    assert [row[:3] for row in rows[2:]] == [
        ["b", "mixtures", "4.00 (1 of 2)"],
        ["b", "speech", "5.00 (1 of 2)"],
        ["a", "mixtures", "3.00"],
    ]
    assert rows[4][-2:] == ["9.90", "7"]
    assert rows[0][-1] == "n"


def test_the_picture_has_a_line_for_each_row(study, tmp_path, capsys):
    file = tmp_path / "percentiles.svg"
    assert main(["compare", str(with_distribution(study)), "--picture", str(file)]) == 0
    assert file.read_text().count('id="line2d') > 2
    assert main(["compare", str(study), "--split", "valid", "--picture", str(file)]) == 2
    assert "has an evaluation of valid" in capsys.readouterr().err
    assert main(["compare", str(study), "--picture", str(tmp_path / "no" / "a.png")]) == 0
    assert (tmp_path / "no" / "a.png").is_file()
    capsys.readouterr()
    for name, message in (
        ("a.csv", "must be a file that ends in .svg, .png, .pdf"),
        ("percentiles.svg/a.png", "cannot write"),
    ):
        assert main(["compare", str(study), "--picture", str(tmp_path / name)]) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert shown.out == ""


def test_the_page_is_written_where_only_a_page_is_replaced(study, capsys):
    page = study / "page.html"
    for _ in range(2):
        assert main(["compare", str(study), "--page", str(page), "--baseline", "a"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == str(page)
    assert f"<title>study {study.name}" in page.read_text()
    assert "b beside a: not known" in page.read_text()
    (study / "other.html").write_text("mine")
    for name, message in (("other.html", "is no page of this program"), ("a.txt", "--page must end in .html")):
        assert main(["compare", str(study), "--page", str(study / name)]) == 2
        shown = capsys.readouterr()
        assert (message in shown.err, shown.out) == (True, "")


def test_switches_are_told_by_epoch(study, capsys):
    rows = {"epoch": [0, 1, 2], "layer": 0, "switch_ratio": [None, 0.4, 0.1]}
    pd.DataFrame(rows).to_csv(study / "b" / "2" / "switches.csv", index=False)
    assert main(["compare", str(study), "--by-epoch"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| row | 2 | 3 |", "| --- | --- | --- |", "| b | 30.0 | 10.0 |", "| a | 10.0 | – |",
    ]  # fmt: skip
    for file in study.glob("*/*/switches.csv"):
        file.unlink()
    assert main(["compare", str(study), "--by-epoch"]) == 2
    assert "has a table of switches" in capsys.readouterr().err


def test_epochs_to_another_rows_end_are_counted_by_seed(study, capsys):
    assert main(["compare", str(study), "--reach", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| row | epochs to the last val SI-SDRi of a |"
    assert lines[2:] == ["| b | – |", "| a | 2 |"]  # b's first seed ends 1 dB below a's, its second has no partner
    assert main(["compare", str(study), "--reach", "b"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["| b | 2 |", "| a | 1 |"]
    assert main(["compare", str(study), "--reach", "c"]) == 2
    assert "has no row 'c'" in capsys.readouterr().err
    (study / "a" / "1" / "metrics.csv").unlink()
    assert main(["compare", str(study), "--reach", "a"]) == 2
    assert "no run of row 'a' was validated" in capsys.readouterr().err


def test_figures_are_shown_by_snr(study, capsys):
    assert main(["compare", str(study), "--by-snr"]) == 2
    assert "was evaluated on noisy mixtures of test" in capsys.readouterr().err
    table = pd.DataFrame({"name": list("abcdefgh"), "input_si_sdr": 0.0, "input_snr": [7, 6, 5, 4, 3, 2, 1, 0]})
    table["si_sdr_i"] = [8.0, 7, 6, 5, 4, 3, 2, float("nan")]
    for row, iterations in (("a", None), ("b", [1, 1, 1, 2, 2, 3, 4, 4])):
        folder = study / row / "1" / "evaluation" / "test"
        own = table if iterations is None else table.assign(n_iterations=iterations)
        own.to_csv(folder / "utterances.csv", index=False)
        if iterations is not None:
            figures = {"n_iterations": {"label": "iterations"}}
            summary = {**json.loads((folder / "summary.json").read_text()), "figures": figures}
            (folder / "summary.json").write_text(json.dumps(summary))
    assert main(["compare", str(study), "--by-snr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [  # the undefined one is in no quarter
        "| b | input SNR, dB | 4.00 | 1.50 | 3.50 | 5.50 | 7.00 | 7 |",
        "| b | test SI-SDRi, dB | 5.00 | 2.50 | 4.50 | 6.50 | 8.00 | 7 |",
        "| b | iterations | 2.00 | 3.50 | 2.00 | 1.00 | 1.00 | 7 |",
        "| a | input SNR, dB | 4.00 | 1.50 | 3.50 | 5.50 | 7.00 | 7 |",
        "| a | test SI-SDRi, dB | 5.00 | 2.50 | 4.50 | 6.50 | 8.00 | 7 |",
    ]


def evaluated_on(run, names, mean):
    """An evaluation of a run on these mixtures."""
    folder = run / "evaluation/test"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"n": len(names), "mean": mean, "std": 1.0, "p10": mean - 2}
    summary = {"metrics": {"si_sdr_i": numbers}, "failures": {}, "command": "c"}
    (folder / "summary.json").write_text(json.dumps(summary))
    table = pd.DataFrame({"name": names, "si_sdr_i": mean, "input_si_sdr": 0.0, "input_snr": range(len(names))})
    table.to_csv(folder / "utterances.csv", index=False)


@pytest.mark.parametrize("other", [list("abcd"), list("abcdefgx")], ids=["limit", "list"])
def test_seeds_that_were_evaluated_on_different_mixtures_have_no_mean(study, capsys, other):
    """One with --limit, or on another list of as many mixtures: what is averaged must be of the same mixtures."""
    for seed, names in ((1, list("abcdefgh")), (2, other)):
        evaluated_on(study / "b" / str(seed), names, 4.0 * seed)
    evaluated_on(study / "a" / "1", list("abcdefgh"), 3.0)
    note = (
        f"note: b has no mean: its runs were evaluated on different mixtures (b/1 on 8, b/2 on {len(other)}); evaluate"
    )
    for option, wanted in (([], "| b | 2 | 2 | – | – | "), (["--distribution"], ""), (["--by-snr"], "")):
        assert main(["compare", str(study), *option]) == 0
        out = capsys.readouterr().out
        assert note in out
        assert "6.00" not in out
        assert ("\n| b |" in out) == bool(wanted)
        assert wanted in out
    evaluated_on(study / "b" / "2", list("abcdefgh"), 8.0)
    assert main(["compare", str(study)]) == 0
    out = capsys.readouterr().out
    assert "6.00 ± 2.83" in out
    assert "| 8 |" in out
    assert "note" not in out


def test_rows_that_were_evaluated_on_different_mixtures_are_told_apart(study, capsys):
    for seed in (1, 2):
        evaluated_on(study / "b" / str(seed), list("abcdefgh"), 4.0 * seed)
    evaluated_on(study / "a" / "1", list("abcd"), 3.0)
    assert main(["compare", str(study)]) == 0
    out = capsys.readouterr().out
    assert "note: these rows cannot be compared, they were evaluated on different mixtures: b on 8; a on 4" in out
    assert "6.00 ± 2.83" in out


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$x^$", "_hidden", "a|b", "two\nlines", "\x1b[2Jgone", b"\xff\xfe"])
def test_a_row_may_have_any_name(study, name, capsys):
    """One line each, nothing that a terminal obeys, and an entry in the legend."""
    os.rename(os.fsencode(study / "b"), os.fsencode(study) + b"/" + os.fsencode(name))
    picture = study / "picture.svg"
    assert main(["compare", str(study), "--picture", str(picture)]) == 0
    shown = ascii(os.fsdecode(name))[1:-1]
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith(f"| {shown} | 2 |".replace("a|b", r"a\|b"))
    assert len(lines) == 8
    assert lines[7].startswith(f"| a | {shown} | 1 | 1 |".replace("a|b", r"a\|b"))
    assert f"<!-- {shown} -->".replace("<!-- _", "<!--  _") in picture.read_text()


def test_numbers_that_are_not_finite_have_no_deviation(study, capsys):
    for run in ("b/1", "b/2"):
        pd.DataFrame({"epoch": [0], "step": [10], "seconds": [0.0], "val/si_sdr_i": [1.0]}).to_csv(
            study / run / "metrics.csv", index=False
        )
    assert main(["compare", str(study)]) == 0
    assert capsys.readouterr().out.splitlines()[2].endswith("| – |")
    assert spread([math.inf, 1.0], 2) == "inf"


def test_a_config_that_is_no_text_is_named(study, capsys):
    (study / "b" / "1" / "config.yaml").write_bytes(b"\xff")
    assert main(["compare", str(study)]) == 2
    assert "b/1/config.yaml' is no readable config: 'utf-8' codec" in capsys.readouterr().err


def test_costs_of_the_models_are_compared(study, tmp_path, capsys):
    assert main(["compare", str(study), "--cost"]) == 2
    said = capsys.readouterr().err
    assert "has an evaluation of test with the cost of its model: asteroid-stab evaluate RUN --overwrite" in said
    (study / "b/2/versions.json").write_text(json.dumps({"n_parameters": 1000}))
    cost = {"n_parameters": 1000, "gmacs_per_s": 1.5, "real_time_factor": 0.25, "length_s": 4.0, "n_threads": 1}
    for row, changes in (("b", {}), ("a", {"gmacs_per_s": None, "uncounted": "no formula for x"})):
        file = study / row / "1/evaluation/test/summary.json"
        summary = json.loads(file.read_text())
        file.write_text(json.dumps({**summary, "cost": {**cost, "device": "cpu", "uncounted": "", **changes}}))
    assert main(["compare", str(study), "--cost", "--page", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "| row | seeds | parameters | MACs for a second of sound, G | real-time factor |"
    assert shown[2:4] == ["| b | 2 | 1000 | 1.500 (1 of 2) | 0.250 (1 of 2) |", "| a | 1 | 1000 | – | 0.250 |"]
    assert "MACs for a second of sound (G)" in (tmp_path / "page.html").read_text()


def test_one_table_is_printed_at_a_time(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path), "--cost", "--distribution"])
    assert "argument --distribution: not allowed with argument --cost" in capsys.readouterr().err
