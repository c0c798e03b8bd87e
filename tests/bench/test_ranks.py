"""asteroid-stab bench ranks: two real processes agree with one to rounding, and a training that fails is reported."""

import json

import pytest

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from bench import ranks
from bench.ranks import train


@pytest.mark.slow
def test_two_processes_differ_from_one_by_rounding(tmp_path, capsys):
    file = tmp_path / "ranks.json"
    words = ["--kinds", "float64", "--steps", "2", "--batch-size", "2", "--json", str(file)]
    assert main(["bench", "ranks", *words]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert row["kind"] == "float64"
    assert 0 < row["distance"] < 1e-12
    assert f"{row['distance']:.0e}" in capsys.readouterr().out


def test_both_sides_have_the_same_items_in_each_step(tmp_path):
    options = ranks.BENCH.parse(["--processes", "3", "--batch-size", "4", "--steps", "5"])
    one, three = (ranks.words(options, "float32", n, tmp_path) for n in (1, 3))
    assert {"loader.batch_size=12", "trainer.devices=1", "data.n_train=60"} < {*one}
    assert {"loader.batch_size=4", "trainer.devices=3", "trainer=ddp", "data.n_train=60"} < {*three}


@pytest.mark.slow
def test_what_cannot_be_measured_is_refused():
    with pytest.raises(StabError, match="--processes must be at least 2, got 1"):
        ranks.BENCH.parse(["--processes", "1"])
    with pytest.raises(StabError, match=r"failed with status 2:\n.*no recipe 'baseline/toi'"):
        train(["train", "baseline/toi"])
