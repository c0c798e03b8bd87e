"""asteroid-stab bench refinement: its tables and file, and the floors of time and memory."""

import argparse
import json
import time

import pytest

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.models import LatentRefinementNet
from asteroid_stab.threads import torch_threads
from bench import refinement as bench_refinement
from bench.measure import take_turns
from bench.refinement import STAGED, exit_calls, exits, model_of, prepare, stage_bytes


def test_it_prints_rows_and_writes_its_numbers(tmp_path, capsys, monkeypatch):
    def peak(what, prepare, args, warm_args, device, threads):
        layout, stage, *_ = args
        return (layout.n_sub_blocks * layout.n_iterations * 1000 + stage * 100) * 2**20

    monkeypatch.setattr(bench_refinement, "peak_bytes", peak)
    file = tmp_path / "refinement.json"
    words = ["--segment-s", "0.1", "--exit-batch-sizes", "1", "3", "--iterations", "2", "--rounds", "1"]
    assert main(["bench", "refinement", *words, "--json", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    written = json.loads(file.read_text())
    assert [(row["batch_size"], row["mean"]) for row in written["exit"]] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert all(row["share"] == row["least_s"] / row["dense_s"] for row in written["exit"])
    assert [len(row["stage_bytes"]) for row in written["memory"]] == [1, 2, 2, 2, 4, 4, 4]
    rows = [line.split() for line in lines if line.split()[-1:] == ["0.51"]]  # 8200 of 16000 MiB, and the weights
    assert [row[:3] for row in rows] == [["2", "8", "1"], ["2", "4", "2"], ["2", "2", "4"]]
    weights = sum(p.numel() for p in model_of(STAGED[0]).parameters()) * 4 / 2**20
    assert rows[0][3:5] == [f"{8100 + weights:.0f}", f"{8200 + weights:.0f}"]


def test_parts_alone(capsys, monkeypatch):
    monkeypatch.setattr(bench_refinement, "stage_bytes", lambda layout, options: [2**20] * layout.n_blocks)
    assert main(["bench", "refinement", "--parts", "memory"]) == 0
    out = capsys.readouterr().out
    assert "training step" in out
    assert "early exit" not in out


def test_a_segment_of_nothing_is_refused():
    with pytest.raises(StabError, match="--segment-s must be at least a sample, 0.000125 s, got 0.0001"):
        bench_refinement.BENCH.main(["--segment-s", "0.0001"])


def test_every_layout_has_sixteen_applications():
    assert [n * k * i for n, k, i in (bench_refinement.END_TO_END, *STAGED)] == [16] * 7
    assert [layout.n_blocks for layout in STAGED] == [2, 2, 2, 4, 4, 4]


@pytest.mark.parametrize("n_items", [1, 3, 8])
@pytest.mark.parametrize("n_iterations", [1, 4])
def test_items_exit_where_they_are_told(n_items, n_iterations):
    calls = exit_calls(n_iterations, n_items, 0.05, "cpu")
    assert calls.pop("dense")().tolist() == [n_iterations] * n_items
    for _ in range(2):  # the second call is as the first
        for mean, call in calls.items():
            n_used = call()
            assert n_used.tolist() == exits(int(mean), n_iterations, n_items)
            assert n_used.float().mean() == int(mean)


def test_a_step_trains_its_stage_alone(monkeypatch):
    models = []

    def small(layout, device):
        n_blocks, n_sub_blocks, n_iterations = layout
        size = {"n_filters": 8, "bn_chan": 4, "upsampling_depth": 2, "own_heads": n_blocks > 1}
        models.append(LatentRefinementNet(2, n_blocks, n_sub_blocks, n_iterations, **size))
        return models[-1]

    monkeypatch.setattr(bench_refinement, "model_of", small)
    call = prepare(STAGED[1], 2, 2, 400, "cpu")
    before = {name: p.clone() for name, p in models[0].named_parameters()}
    call()
    changed = {name for name, p in models[0].named_parameters() if not p.equal(before[name])}
    assert any(name.startswith("masker.blocks.1.") for name in changed)
    assert not any(name.startswith(("encoder", "masker.blocks.0.", "early_heads")) for name in changed)


@pytest.mark.bench
@pytest.mark.parametrize(("n_items", "segment_s"), [(1, 4.0), (8, 1.0)])
def test_time_goes_with_the_iterations(n_items, segment_s):
    calls = exit_calls(4, n_items, segment_s, "cpu")
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(8):  # a busy machine only adds to the least time: more rounds come closer to what the code needs
        with torch_threads(1):
            seconds = take_turns(calls, 4, 60.0, "cpu", clock=time.process_time)
        least = {name: min(least[name], *values) for name, values in seconds.items()}
        shares = {mean: least[str(mean)] / least["dense"] for mean in (1, 2, 3)}  # 4 of 4 save nothing
        if all(share <= mean / 4 + 0.10 for mean, share in shares.items()):
            break
    else:
        raise AssertionError(shares)
    assert shares[1] < 0.6 * shares[3]


@pytest.fixture(scope="module")
def tiny_options():
    return argparse.Namespace(segment_s=1.0, batch_size=1, device="cpu", threads=1)


@pytest.fixture(scope="module")
def end_to_end(tiny_options):
    return max(stage_bytes(bench_refinement.END_TO_END, tiny_options))


@pytest.mark.bench
@pytest.mark.parametrize("layout", STAGED, ids=lambda layout: "x".join(map(str, layout)))
def test_stages_take_a_part_of_the_memory_of_all_at_once(layout, tiny_options, end_to_end):
    share = max(stage_bytes(layout, tiny_options)) / end_to_end
    assert 1 / 2 / layout.n_blocks < share <= {2: 0.60, 4: 0.38}[layout.n_blocks]
