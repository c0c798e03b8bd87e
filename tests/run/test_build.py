"""What stands between a config and its parts."""

import re

import pytest
from runs import state

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.build import rate_groups


def test_parts_have_rates_of_their_own(tiny_model):
    model = tiny_model()
    trained = [p for p in model.parameters() if p.requires_grad]
    rest, encoder, blocks = rate_groups(model, trained, [["encoder", 0.1], ["masker.TCN", 0]], 0.02)
    assert "lr" not in rest
    assert [group["lr"] for group in (encoder, blocks)] == [0.002, 0.0]
    assert [len(group["params"]) for group in (encoder,)] == [1]
    together = [p for group in (rest, encoder, blocks) for p in group["params"]]
    assert {id(p) for p in together} == {id(p) for p in trained}
    assert len(together) == len(trained)
    assert rate_groups(model, trained, [], 0.02) == [{"params": trained}]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([["encoder"]], r"pairs of a part of the model and a factor from 0 on, got \['encoder'\]"),
        ([["encoder", -1]], "got .*-1"),
        ([["encoder", float("nan")]], "got .*nan"),
        ([["encoder", True]], "got .*True"),
        ([["encodr", 1]], "no part 'encodr'"),
        ([["masker", 1], ["masker.TCN", 2]], "parts apart from each other, got masker and masker.TCN"),
    ],
)
def test_wrong_factors_are_refused(tiny_model, factors, message):
    model = tiny_model()
    with pytest.raises(StabError, match=message):
        rate_groups(model, list(model.parameters()), factors, 0.01)


def test_factors_need_a_rate_and_a_rate_needs_no_factors(tiny_model):
    model = tiny_model()
    assert rate_groups(model, [], [], None) == [{"params": []}]
    with pytest.raises(StabError, match=r"lr_factors are of optim.lr, which must be given"):
        rate_groups(model, [], [["encoder", 0.1]], None)


SMALL = ["data.n_train=8", "data.n_valid=4", "data.n_utterances=1", "loader.segment_s=0.5", "trainer.max_epochs=1"]


def test_a_run_trains_with_them(tmp_path):
    words = [*SMALL, "trainer.limit_train_batches=1", "logger=none", "lr_factors=[[encoder,0],[decoder,0.5]]"]
    words += ["callbacks=[tracker,freeze]", "callbacks.freeze.parts=[masker.mask_net]"]
    assert main(["train", "baseline/toy", f"run_dir={tmp_path / 'run'}", *words]) == 0
    groups = state(tmp_path / "run")["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [0.002, 0.0, 0.001]


def test_a_schedule_of_one_rate_for_all_is_refused(tmp_path, capsys):
    words = [*SMALL, "logger=none", "lr_factors=[[encoder,0.1]]", "scheduler=dptnet"]
    assert main(["train", "baseline/toy", f"run_dir={tmp_path / 'run'}", *words]) == 2
    assert "DPTNetScheduler gives all parameters one rate, so lr_factors must be []" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["baseline/toy", "pretext=mama"], "a pretext task and system=pretext belong together"),
        (["baseline/toy", "system=pretext"], "a pretext task and system=pretext belong together"),
        (["baseline/toy", "system=multitask"], "data=multitask and system=multitask belong together"),
        (["baseline/toy", "data=multitask"], "data=multitask and system=multitask belong together"),
        (
            ["ssl/toy_mama", "callbacks=[early_stopping]"],
            r"can watch val/score or val/loss in this run \(callbacks.early_stopping.monitor=...\), got val/si_sdr",
        ),
        (["baseline/toy", "callbacks=[freeze]", "callbacks.freeze.parts=[encodr]"], "the model has no part 'encodr'"),
        (["ssl/toy_mama", "model.n_src=2"], r"must have one source in a model \(model.n_src=1\), got 2"),
        (["ssl/toy_mama", "callbacks=[tracker]"], "AssignmentTracker needs assignments"),
        (["ssl/toy_mama", "head=layerwise"], r"needs the plain model \(head=plain\)"),
        (
            ["ssl/toy_multitask", "model.n_src=3"],
            r"for each of 3 sources and one that enhances \(model.n_src=4\), got 3",
        ),
        (["lir/toy_progressive", "trainer.max_epochs=7"], "trainer.max_epochs must be 10, epochs_per_stage=5 for each"),
        (["ssl/toy_multitask", "model.mask_act=softmax"], "mask_act=softmax makes each mask depend on all others"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_a_run_folder_is_made(tmp_path, esc, capsys, words, message):
    small = ["n_train=8", "n_valid=4", "n_test=4"]
    if "multitask" in words[0]:
        data = [f"data.{part}.{size}" for part in ("base", "enhancement") for size in small]
        data += [f"data.enhancement.noise_root={esc}", "data.base.n_utterances=1", "loader.segment_s=0.5"]
    elif words[0] in ("ssl/toy_mama", "lir/toy_progressive"):
        data = [f"data.{size}" for size in small]
        data += [f"data.noise_root={esc}", "data.base.n_utterances=1", "loader.segment_s=0.5"]
    else:
        data = []
    run = tmp_path / "run"
    assert main(["train", *words, *data, f"run_dir={run}", "logger=none"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not run.exists()
