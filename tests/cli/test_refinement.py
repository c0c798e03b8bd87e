"""Latent refinement from the command line: in stages and with gates, killed, resumed, and on two processes."""

import pandas as pd
import pytest
import torch
from runs import KILL, WORKERS, assert_same_weights, stab, state

SMALL = ["data.base.n_utterances=1", "data.n_train=16", "data.n_valid=4", "data.n_test=4", "loader.segment_s=0.5"]
SMALL += ["model.n_filters=32", "model.bn_chan=8", "model.upsampling_depth=2", "loader.batch_size=4", "logger=none"]
SMALL += ["trainer.accelerator=cpu"]
STAGES = ["callbacks.progressive.epochs_per_stage=2", "trainer.max_epochs=4", "scheduler.step_size=1"]
TWO = ["loader.batch_size=2", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


def train(run, recipe, esc, *words, **kwargs):
    return stab("train", recipe, f"run_dir={run}", *SMALL, f"data.noise_root={esc}", *words, **kwargs)


def same_tables(a, b):
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="seconds") for run in (a, b)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", ["1,2", "2,1", "3,0"])
def test_stages_killed_and_resumed(tmp_path, esc, kill_at):
    """In the last epoch of the first stage, in the first of the second, and later: equal to the last bit."""
    train(tmp_path / "whole", "lir/toy_progressive", esc, *STAGES, KILL)
    killed = train(tmp_path / "run", "lir/toy_progressive", esc, *STAGES, KILL, WORKERS, KILL_AT=kill_at, check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    same_tables(tmp_path / "run", tmp_path / "whole")
    files = [torch.load(tmp_path / run / "stages" / "stage_1.pth", weights_only=True) for run in ("run", "whole")]
    assert files[0]["model_args"]["n_blocks"] == 1
    assert all(torch.equal(files[0]["state_dict"][name], value) for name, value in files[1]["state_dict"].items())


@pytest.mark.slow
def test_stages_on_two_processes_equal_one(tmp_path, esc):
    words = [*STAGES, "trainer.precision=64-true"]
    train(tmp_path / "one", "lir/toy_progressive", esc, *words)
    train(tmp_path / "two", "lir/toy_progressive", esc, *words, *TWO)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)
    blocks = [name for name in state(tmp_path / "one")["state_dict"] if "blocks.0" in name]
    best = torch.load(tmp_path / "one" / "stages" / "stage_1.pth", weights_only=True)["state_dict"]
    assert {name.removeprefix("model.") for name in blocks} <= set(best)


@pytest.mark.slow
def test_gates_join_a_trained_network(tmp_path, esc):
    """Killed and resumed, and on two processes, where gates draw for each item alone."""
    train(tmp_path / "before", "lir/toy", esc, "trainer.max_epochs=1", "model.n_iterations=3")
    words = [f"init.path={tmp_path / 'before'}", "trainer.max_epochs=3", "model.n_iterations=3", "model.gate_bias=0.0"]
    shown = train(tmp_path / "whole", "lir/toy_early_exit", esc, *words, KILL)
    assert "masker.gates.0.by_frame.weight" in shown.stdout
    killed = train(tmp_path / "run", "lir/toy_early_exit", esc, *words, KILL, WORKERS, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    same_tables(tmp_path / "run", tmp_path / "whole")

    train(tmp_path / "one", "lir/toy_early_exit", esc, *words, "trainer.precision=64-true")
    train(tmp_path / "two", "lir/toy_early_exit", esc, *words, "trainer.precision=64-true", *TWO)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)
    used = pd.read_csv(tmp_path / "one" / "metrics.csv")["train/n_iterations"]
    assert used.between(0.2, 2.9).all()  # items of a batch exit differently


@pytest.mark.slow
def test_exits_by_snr_are_trained_and_chosen_afterwards(tmp_path, esc):
    """Killed and resumed, on two processes, and evaluated with two targets."""
    words = ["trainer.max_epochs=3", "model.n_iterations=3"]
    train(tmp_path / "whole", "snr_exit/toy", esc, *words, KILL)
    killed = train(tmp_path / "run", "snr_exit/toy", esc, *words, KILL, WORKERS, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    same_tables(tmp_path / "run", tmp_path / "whole")
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["train/likelihood"].diff().dropna().lt(0).all()

    train(tmp_path / "one", "snr_exit/toy", esc, *words, "trainer.precision=64-true")
    train(tmp_path / "two", "snr_exit/toy", esc, *words, "trainer.precision=64-true", *TWO)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)

    used = {}
    for variant in ("snri0", "snri60"):
        stab("evaluate", tmp_path / "run", "--variant", variant, "--metrics", "si_sdr")
        [table] = (tmp_path / "run" / "evaluation").glob(f"*{variant}*/utterances.csv")
        used[variant] = pd.read_csv(table)["n_iterations"].tolist()
    assert used == {"snri0": [1] * 4, "snri60": [3] * 4}
