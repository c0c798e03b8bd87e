"""The PIT family as recipes of 20 speakers: killed across the switch and resumed, and on two processes."""

import numpy as np
import pandas as pd
import pytest
from runs import KILL, ROWS, WORKERS, assert_same_weights, stab, train


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_twenty_speakers_killed_across_the_switch_and_resumed(tmp_path, row):
    whole = train(tmp_path / "whole", row, "trainer.max_epochs=3", KILL)
    assert whole.returncode == 0
    killed = train(tmp_path / "run", row, "trainer.max_epochs=3", KILL, WORKERS, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds") for run in ("run", "whole")]
    pd.testing.assert_frame_equal(*tables)
    if row.startswith("attn_"):
        assert tables[0]["train/attention_error"].notna().tolist() == [True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_two_processes_equal_one(tmp_path, row):
    """In fp64, so that what is left is an error and not Adam's blowing up of rounding."""
    common = ["trainer.max_epochs=2", "trainer.precision=64-true"]
    train(tmp_path / "one", row, *common, "loader.batch_size=8")
    two = train(tmp_path / "two", row, *common, "loader.batch_size=4", "trainer=ddp", "trainer.devices=2")
    assert "sync_dist" not in two.stdout + two.stderr
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-7)
    one, two = (pd.read_csv(tmp_path / run / "metrics.csv") for run in ("one", "two"))
    for column in [c for c in one if c.startswith(("train/", "val/"))]:
        np.testing.assert_allclose(one[column], two[column], rtol=1e-5, atol=1e-7, err_msg=column)
