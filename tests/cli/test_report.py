from __future__ import annotations

import json
import subprocess
import sys

import pytest

from asteroid_stab.cli.main import main


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "a run"
    path.mkdir()
    (path / "config.yaml").write_text("data: {_target_: asteroid_stab.data.ToyCorpus, n_src: 2}\n")
    (path / "versions.json").write_text(json.dumps({"recipe": "baseline/toy", "packages": {}}))
    (path / "metrics.csv").write_text("epoch,step,val/si_sdr_i,seconds\n0,10,1.5,3.0\n1,20,2.25,3.0\n")
    return path


def test_one_run_has_its_page_in_its_folder(run, capsys):
    assert main(["report", str(run)]) == 0
    out = capsys.readouterr().out
    assert out == f"{run / 'report.html'}\n"
    page = (run / "report.html").read_text()
    assert "<h1>a run</h1>" in page
    assert "2.25 dB" in page
    assert main(["report", str(run)]) == 0  # again, over the old one


def test_several_runs_have_their_page_here(run, tmp_path, monkeypatch, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text("data: {_target_: asteroid_stab.data.ToyCorpus, n_src: 3}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run), "other"]) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert "<h1>2 runs compared</h1>" in (tmp_path / "report.html").read_text()


def test_the_page_and_the_split_can_be_named(run, tmp_path, capsys):
    page = tmp_path / "new folder" / "page.html"
    assert main(["report", str(run), "--out", str(page), "--split", "valid"]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert f"asteroid-stab evaluate &#39;{run}&#39; --split valid" in page.read_text()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}"], "is no run folder: it has no config.yaml"),
        (["{tmp}/nowhere"], "is no run folder"),
        (["{run}", "{run}"], "each run must be given once, got '{run}' twice"),
        (["{run}", "--out", "{tmp}"], "--out must be a file, got the folder '{tmp}'"),
        (
            ["{run}", "--out", "{run}/metrics.csv/page.html"],
            "cannot write to '{run}/metrics.csv': ",
        ),
        (["{run}", "--out", "{run}/metrics.csv"], "--out must end in .html, got '{run}/metrics.csv'"),
        (["{run}", "--out", "{run}/new.pth"], "--out must end in .html, got '{run}/new.pth'"),
        (["{run}", "--out", "{run}/mine.html"], "'{run}/mine.html' is no page of this program, and would be replaced"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(run, tmp_path, capsys, arguments, message):
    (run / "mine.html").write_text("<html>")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    places = {"run": run, "tmp": tmp_path}
    assert main(["report", *(word.format(**places) for word in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("asteroid-stab report: error: ")
    assert message.format(**places) in shown.err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_config_that_cannot_be_read_is_named(run, capsys):
    (run / "config.yaml").write_text("data: {n_src: 2\n")
    assert main(["report", str(run)]) == 2
    assert "config.yaml' is no readable config" in capsys.readouterr().err


def test_help_needs_nothing_heavy():
    code = "import sys; from asteroid_stab.cli import report\n"
    code += "try: report.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'matplotlib', 'pandas', 'omegaconf'} & set(sys.modules), 'heavy'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: asteroid-stab report" in done.stdout
    assert "--split" in done.stdout
