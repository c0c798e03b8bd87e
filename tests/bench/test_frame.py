"""The frame of the benchmarks: their list, shared options, threads, printing and the file of the numbers."""

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import asteroid_stab.cli.bench
from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from bench.__main__ import BENCHES, bench
from bench.__main__ import main as python_m_bench
from bench.frame import SHARED, Bench, seconds, setting, table

ROOT = Path(__file__).resolve().parents[2]


def make(**kwargs):
    """A benchmark that reports its options and the number of threads."""

    def measure(options):
        return {"rows": options.n_src, "threads_within": torch.get_num_threads()}

    def show(numbers, options):
        return [f"rows {numbers['rows']}", table("title\nof two lines", ["J", "n"], [["2", "0.50"]], n_left=1)]

    arguments = {"shared": {"n_src": [2, 5], "threads": 2, "device": "cpu"}, **kwargs}
    return Bench("trial", "a trial", measure, show, **arguments)


def test_it_prints_and_writes_what_it_measured_on_its_threads(tmp_path, capsys):
    before, file = torch.get_num_threads(), tmp_path / "trial.json"
    assert make().main(["--n-src", "3", "4", "--threads", "3", "--json", str(file)]) == 0
    assert torch.get_num_threads() == before
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["rows", "[3,", "4]"]
    assert ["2", "0.50"] in lines
    assert json.loads(file.read_text()) == {
        "n_src": [3, 4],
        "threads": 3,
        "device": "cpu",
        "packages": {name: version(name) for name in ("torch", "asteroid", "asteroid-stab")},
        "rows": [3, 4],
        "threads_within": 3,
    }


def test_a_benchmark_without_threads_leaves_them_alone(capsys):
    seen = []
    quiet = Bench("quiet", "", lambda options: seen.append(torch.get_num_threads()) or {}, lambda *_: [], {})
    assert quiet.main([]) == 0
    assert seen == [torch.get_num_threads()]
    assert capsys.readouterr().out == ""


def test_help_names_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        make(options={"--size": {"type": int, "default": 7, "help": "size (7)"}}).main(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "sources (2 5)" in out
    assert "threads on the CPU (2)" in out
    assert "size (7)" in out
    assert "--json FILE" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--device", "abacus"], "--device must be cpu, or cuda where there is a GPU, got 'abacus'"),
        (["--json", "no/such/folder/pit.json"], "--json must lie in a folder that exists, got no/such/folder/pit.json"),
        (["--librispeech", "nowhere"], "--librispeech must be a folder, got nowhere"),
    ],
)
def test_unusable_options_are_refused_before_anything_is_measured(argv, message):
    shared = {"device": "cpu", "librispeech": None}
    with pytest.raises(StabError, match=message):
        Bench("trial", "", lambda options: pytest.fail("measured"), lambda *_: [], shared).main(argv)


def test_a_benchmarks_own_check_is_asked():
    def check(options):
        raise StabError(f"no trial of {options.n_src}")

    with pytest.raises(StabError, match=r"no trial of \[2, 5\]"):
        make(check=check).main([])


@pytest.mark.parametrize("number", ["0", "-3", "two"])
def test_whole_numbers_below_one_are_refused(number, capsys):
    with pytest.raises(SystemExit, match="2"):
        make().main([f"--n-src={number}"])
    assert f"argument --n-src: must be a whole number of at least 1, got '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-0.5", "inf", "nan", "soon"])
def test_seconds_must_be_above_0(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be a number of seconds above 0, got '{text}'"):
        seconds(text)
    assert seconds("0.5") == 0.5


def test_the_setting_of_a_title():
    assert setting(argparse.Namespace(device="cuda:1", threads=2)) == "cuda:1, 2 thread(s)"


@pytest.mark.parametrize("name", BENCHES)
def test_every_benchmark_keeps_to_the_frame(name):
    made = bench(name)
    assert made.name == name
    assert set(made.shared) <= set(SHARED)
    assert not {f"--{shared.replace('_', '-')}" for shared in made.shared} & set(made.options)
    defaults = vars(made.parse([]))
    assert {key: defaults[key] for key in made.shared} == dict(made.shared)


def test_both_doors_list_the_benchmarks(capsys):
    assert python_m_bench(["--help"]) == 0
    listed = capsys.readouterr().out
    assert python_m_bench([]) == 2
    assert main(["bench"]) == 2
    assert capsys.readouterr().out == 2 * listed
    for name in BENCHES:
        assert f"  {name:<10} {bench(name).summary}\n" in listed
    makefile = (ROOT / "Makefile").read_text()
    assert f"for name in {' '.join(BENCHES)}; do" in makefile


def test_python_m_bench_runs_from_a_checkout():
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: asteroid-stab bench NAME")


def test_a_name_that_is_none_is_refused():
    with pytest.raises(StabError, match=r"no benchmark 'steps' \(did you mean 'step'\?\); there are pit, step, "):
        python_m_bench(["steps"])


def test_an_installed_package_has_no_benchmarks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(asteroid_stab.cli.bench, "__file__", str(tmp_path / "asteroid_stab" / "cli" / "bench.py"))
    assert main(["bench", "pit"]) == 2
    assert "the benchmarks are in the folder bench of a checkout" in capsys.readouterr().err
