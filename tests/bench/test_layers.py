"""asteroid-stab bench layers: its table and file, and that layers cost little memory."""

import json

import pytest

from asteroid_stab.cli.main import main
from bench import layers as bench_layers
from bench.measure import peak_bytes
from bench.models import HOSTED, MODELS, OWN


def test_it_prints_a_row_for_each_model(tmp_path, capsys, monkeypatch):
    sizes = {"plain": 100, "watched": 110, "layerwise": 150}
    monkeypatch.setattr(bench_layers, "peak_bytes", lambda what, prepare, args, *_: sizes[args[0]] * 2**20)
    file = tmp_path / "layers.json"
    words = ["--layers", "2", "--batch-size", "1", "--n-samples", "800", "--rounds", "1", "--json", str(file)]
    assert main(["bench", "layers", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {words[0]: words[-3:] for words in map(str.split, lines) if words and words[0] in MODELS}
    assert rows == {kind: ["100", "1.10×", "1.50×"] for kind in OWN}
    assert [row["model"] for row in json.loads(file.read_text())["rows"]] == list(OWN)


@pytest.mark.bench
@pytest.mark.parametrize("kind", OWN)
def test_six_layers_take_less_than_1_6_times_the_memory(kind):
    args = {side: (side, kind, 6, 2, 2, 16_000, "cpu") for side in bench_layers.SIDES}
    warm = {side: (side, kind, 6, 2, 2, 2000, "cpu") for side in bench_layers.SIDES}
    plain, *others = (
        peak_bytes(side, bench_layers.prepare, args[side], warm[side], "cpu", 1) for side in bench_layers.SIDES
    )
    assert all(plain / 3 < other < 1.6 * plain for other in others)


@pytest.mark.toolkits
@pytest.mark.parametrize("kind", HOSTED)
def test_layers_of_hosted_nets_take_less_than_1_6_times_the_memory(kind):
    args = {side: (side, kind, 4, 2, 2, 8_000, "cpu") for side in ("plain", "layerwise")}
    warm = {side: (side, kind, 4, 2, 2, 2000, "cpu") for side in args}
    plain, layerwise = (peak_bytes(side, bench_layers.prepare, args[side], warm[side], "cpu", 1) for side in args)
    assert plain / 3 < layerwise < 1.6 * plain
