"""A user's subclass of every part trains from --config-dir, by its import path as _target_."""

import pytest
from runs import SMALL, stab

RECIPES = {
    "OwnStabSystem": ("baseline/toy", "system: {_target_: own_parts.OwnStabSystem}"),
    "OwnToyCorpus": ("baseline/toy", "data: {_target_: own_parts.OwnToyCorpus}"),
    "OwnExactPITLossWrapper": ("baseline/toy", "loss: {_target_: own_parts.OwnExactPITLossWrapper}"),
    "OwnAssignmentTracker": ("baseline/toy", "callbacks: {tracker: {_target_: own_parts.OwnAssignmentTracker}}"),
    "OddOnly": ("baseline/toy", "stabilizer: {odd: {_target_: own_parts.OddOnly}}"),
    "OwnPretextSystem": ("ssl/toy_mama", "system: {_target_: own_parts.OwnPretextSystem}"),
    "OwnMaskedReconstruction": ("ssl/toy_mama", "pretext: {_target_: own_parts.OwnMaskedReconstruction}"),
    "OwnNoisyCorpus": ("ssl/toy_mama", "data: {_target_: own_parts.OwnNoisyCorpus}"),
    "OwnMultiTaskSystem": ("ssl/toy_multitask", "system: {_target_: own_parts.OwnMultiTaskSystem}"),
    "OwnMultiTaskCorpus": ("ssl/toy_multitask", "data: {_target_: own_parts.OwnMultiTaskCorpus}"),
    "OwnRefinementSystem": ("lir/toy", "system: {_target_: own_parts.OwnRefinementSystem}"),
}


QUICK = ("OwnExactPITLossWrapper",)  # the others are slow


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES]
)
def test_a_users_part_is_trained_with(tmp_path, esc, name):
    recipe, line = RECIPES[name]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text(
        f"# @package _global_\n# A part of my own.\ndefaults:\n  - /{recipe}\n  - _self_\n{line}\n"
    )
    words = [word for word in SMALL if not word.startswith(("data.", "model.", "scheduler"))]
    words += ["loader.segment_s=0.5", "loader.batch_size=4", "logger=none", "trainer.max_epochs=1"]
    words += ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1"]
    sizes = ["n_train=16", "n_valid=4", "n_test=4"]
    if recipe == "ssl/toy_multitask":
        words += [f"data.{part}.{size}" for part in ("base", "enhancement") for size in sizes]
        words += [f"data.enhancement.noise_root={esc}", "data.base.n_utterances=1"]
    elif recipe == "baseline/toy":
        words += [*(f"data.{size}" for size in sizes), "data.n_utterances=1"]
    else:
        words += [*(f"data.{size}" for size in sizes), f"data.noise_root={esc}", "data.base.n_utterances=1"]
    done = stab("train", "--config-dir", tmp_path / "own", "mine", f"run_dir={tmp_path / 'run'}", *words)
    assert f"{name} is used" in done.stdout
    assert (tmp_path / "run" / "best_model.pth").exists()
