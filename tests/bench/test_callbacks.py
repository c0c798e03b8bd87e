"""asteroid-stab bench callbacks: its figures, and that they are small."""

import json

import pytest

from asteroid_stab.cli.main import main
from bench import callbacks as bench_callbacks
from bench.models import HOSTED


def test_it_prints_a_line_for_each_callback_and_writes_numbers(tmp_path, capsys):
    file = tmp_path / "callbacks.json"
    words = ["--steps", "3", "--items", "50", "--batch-size", "2", "--n-src", "3", "--json", str(file)]
    assert main(["bench", "callbacks", *words]) == 0
    out = capsys.readouterr().out
    assert "medians of 3, in turn" in out
    assert all(f"\n{name}" in out for name in bench_callbacks.PARTS)
    numbers = json.loads(file.read_text())
    assert set(numbers["parts"]) == set(bench_callbacks.PARTS)
    assert numbers["on_ms"] > numbers["parts"]["dropout"]["ms"] > 0
    assert numbers["epoch_end_ms"] > 0
    assert (numbers["steps"], numbers["items"], numbers["n_src"]) == (3, 50, 3)


def test_more_items_in_a_batch_than_there_are_is_refused(capsys):
    assert main(["bench", "callbacks", "--items", "10", "--batch-size", "30"]) == 2
    assert "--batch-size must be at most --items, 10, got 30" in capsys.readouterr().err


@pytest.mark.bench
def test_the_callbacks_take_less_than_a_hundredth_of_a_step():
    parts = bench_callbacks.measure_step("small", n_steps=20, n_items=20_000, n_src=2, batch_size=8, device="cpu")[
        "parts"
    ]
    assert parts["tracker"]["share"] + parts["dropout"]["share"] < 0.01
    assert parts["reweighting"]["share"] + parts["weighted mean"]["share"] < 0.01


@pytest.mark.toolkits
@pytest.mark.parametrize("kind", HOSTED)
def test_the_callbacks_take_less_than_a_hundredth_of_a_step_of_a_hosted_net(kind):
    sizes = {"n_steps": 3, "n_items": 20_000, "n_src": 2, "batch_size": 2}
    parts = bench_callbacks.measure_step(kind, **sizes, device="cpu")["parts"]
    assert parts["tracker"]["share"] + parts["dropout"]["share"] < 0.01
