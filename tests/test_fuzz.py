"""Damaged inputs of every kind, drawn from a seed: a bounded part of ``make fuzz``, and that it finds faults."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
import torch
from fuzz.__main__ import plan
from fuzz.cases import KINDS
from fuzz.damage import damage_bytes, damage_node, saved
from fuzz.server import run

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_none_of_a_hundred_inputs_ends_in_a_fault(tmp_path):
    command = [sys.executable, "-m", "fuzz", "--n", "100", "--seed", "7", "--work", str(tmp_path / "fuzz")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "plugins")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 inputs, seed 7: " in done.stdout
    assert "faults: traceback 0, status 0, hang 0, memory 0, executed 0, wrote outside 0" in done.stdout


def test_inputs_are_of_all_kinds_and_the_same_for_a_seed():
    weights = [weight for _, weight in KINDS.values()]
    planned = plan(100, list(KINDS), weights, 3)
    assert set(planned) == set(KINDS)
    assert planned == plan(100, list(KINDS), weights, 3) != plan(100, list(KINDS), weights, 4)
    assert sum(weights) == 100


def test_damage_is_damage_and_the_same_for_a_seed(tmp_path):
    content, node = b"RIFF" + bytes(200), {"a": [1, {"b": 2}], "c": "x"}
    made = [damage_bytes(Random(i), content) for i in range(50)]
    assert made == [damage_bytes(Random(i), content) for i in range(50)]
    assert sum(one != content for one in made) > 45
    nodes = [damage_node(Random(i), node, tmp_path) for i in range(50)]
    assert sum(one != node for one in nodes) > 45
    assert node == {"a": [1, {"b": 2}], "c": "x"}
    assert torch.equal(torch.load(io.BytesIO(saved({"w": torch.ones(2)})))["w"], torch.ones(2))


def outcome(monkeypatch, tmp_path, function):
    """What the server says of a program that does this in place of the command."""
    from asteroid_stab.cli import main as module

    monkeypatch.setattr(module, "main", function)
    return run(["train"], tmp_path)


def test_a_traceback_an_odd_status_and_a_signal_are_faults(monkeypatch, tmp_path):
    assert outcome(monkeypatch, tmp_path, lambda words: print("fine") or 0).faults == []
    assert outcome(monkeypatch, tmp_path, lambda words: 1 / 0).faults == ["traceback", "status"]
    (tmp_path / "output.txt").unlink()
    assert outcome(monkeypatch, tmp_path, lambda words: 3).faults == ["status"]
    assert outcome(monkeypatch, tmp_path, lambda words: os.kill(os.getpid(), 9)).faults == ["status"]


def test_a_hang_and_much_memory_are_faults(monkeypatch, tmp_path):
    monkeypatch.setattr("fuzz.server.WALL_S", 0.3)
    assert outcome(monkeypatch, tmp_path, lambda words: time.sleep(60)).faults == ["hang"]
    monkeypatch.setattr("fuzz.server.WALL_S", 30)
    monkeypatch.setattr("fuzz.server.MEMORY", 10**8)
    assert outcome(monkeypatch, tmp_path, lambda words: 2).faults == ["memory"]
