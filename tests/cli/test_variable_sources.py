"""One model for one to three voices: trained, resumed, evaluated with counts, shown and used."""

import json
import signal

import pandas as pd
import pytest
from runs import KILL, assert_same_weights, stab

PARTS = ("one", "two", "three")
SMALL = [
    *(f"data.parts.{name}.n_{split}={n}" for name in PARTS for split, n in (("train", 8), ("valid", 3), ("test", 3))),
    *(f"data.parts.{name}.n_utterances=2" for name in PARTS),
    *("loader.batch_size=4", "loader.segment_s=0.5", "trainer.accelerator=cpu", "scheduler=none", "logger=none"),
    *("model.n_filters=32", "model.n_blocks=2", "model.bn_chan=8", "model.hid_chan=16", "model.skip_chan=8"),
]


@pytest.mark.slow
def test_a_run_from_training_to_page(tmp_path):
    common = ["train", "variable_sources/toy", *SMALL, "stabilizer=[reweight]", "stabilizer.reweight.alpha=0.1"]
    common.append("callbacks=[tracker,epoch_models]")
    stab(*common, "trainer.max_epochs=3", f"run_dir={tmp_path / 'whole'}")
    killed = [*common, "trainer.max_epochs=3", f"run_dir={tmp_path / 'run'}", "loader.num_workers=2"]
    assert stab(*killed, KILL, check=False, KILL_AT="1,2").returncode == -signal.SIGKILL
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")

    printed = stab("evaluate", tmp_path / "run", "--metrics", "si_sdr", "--n-jobs", 1).stdout
    table = pd.read_csv(tmp_path / "run/evaluation/test/utterances.csv")
    assert sorted(table["n_active"]) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert table[table["n_active"] == 1]["si_sdr_i"].isna().all()
    assert table["si_sdr"].notna().all()
    summary = json.loads((tmp_path / "run/evaluation/test/summary.json").read_text())
    right = (table["n_active"] == table["n_active_estimates"]).mean()
    assert summary["counting"]["accuracy"] == pytest.approx(right)
    assert sum(sum(found.values()) for found in summary["counting"]["table"].values()) == 9
    assert f"counting accuracy: {100 * right:.1f}%" in printed
    means = table.groupby("n_active")["si_sdr"].mean()
    assert [summary["by_n_active"][str(n)]["si_sdr"]["mean"] for n in (1, 2, 3)] == pytest.approx(list(means), rel=1e-4)
    for text in ("│ SI-SDR, J = 1 ", "│ SI-SDRi, J = 3 ", "\nJ = 2: counted right in "):
        assert text in printed

    stab("switches", tmp_path / "run", "--split", "valid")
    stab("report", tmp_path / "run")
    mixture = next((tmp_path / "run/evaluation/test/examples").rglob("*mixture*.wav"))
    stab("separate", tmp_path / "run", mixture, "--out", tmp_path / "separated")
    assert len(list((tmp_path / "separated").rglob("*.wav"))) == 3
