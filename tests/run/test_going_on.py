"""A checkpoint that fails late is named, and other errors are not blamed on it."""

import types
from pathlib import Path

import pytest
import torch
from runs import SMALL, stab

from asteroid_stab.errors import StabError
from asteroid_stab.run.going_on import GoingOn

FILE = Path("run/checkpoints/last.ckpt")


def watch(resumed=True):
    return GoingOn(FILE, types.SimpleNamespace(callbacks=[]), resumed)


@pytest.mark.parametrize("error", [KeyError("params"), TypeError("no float"), RuntimeError("shape\nat 7")])
def test_an_error_before_the_first_step_is_the_checkpoint_s(error):
    wanted = rf"last.ckpt is of no training that .*: {type(error).__name__}.*TRACEBACK=1"
    with pytest.raises(StabError, match=wanted), watch():
        raise error


def test_one_within_an_epoch_is_not_needed_to_go_on():
    within = GoingOn(FILE.with_name("within.ckpt"), types.SimpleNamespace(callbacks=[]), resumed=True)
    with pytest.raises(StabError, match=r"within.ckpt is of no training .*\(remove it to go on without it; "), within:
        raise KeyError("params")


def test_other_errors_stay(monkeypatch):
    for kind in (OSError, StabError, KeyboardInterrupt):
        with pytest.raises(kind, match="^mine$"), watch():
            raise kind("mine")
    with pytest.raises(KeyError), watch(resumed=False):
        raise KeyError("x")
    later = watch()
    later.on_train_batch_end(None, None)
    with pytest.raises(StabError, match="of no training"), later:
        raise KeyError("x")  # the first step's count
    later.on_train_batch_start(None, None)
    with pytest.raises(KeyError), later:
        raise KeyError("x")
    for end in ("on_validation_start", "on_train_epoch_end"):
        later = watch()
        later.on_train_batch_end()
        getattr(later, end)()
        with pytest.raises(KeyError), later:
            raise KeyError("x")
    monkeypatch.setenv("ASTEROID_STAB_TRACEBACK", "1")
    with pytest.raises(KeyError), watch():
        raise KeyError("x")


DAMAGE = {
    "group": lambda saved: saved["optimizer_states"][0]["param_groups"].append({}),
    "moment": lambda saved: saved["optimizer_states"][0]["state"][0].update(exp_avg_sq=1.5),
    "count": lambda saved: saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"].update(
        completed=torch.zeros(1).to_sparse()
    ),
    "data": lambda saved: saved.update(MixtureDataModule="x"),
    "rows": lambda saved: next(v for k, v in saved["callbacks"].items() if k == "EpochTable")["rows"][0].update(lr="a"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_of_another_form_is_refused_in_a_line(tmp_path, damage):
    stab("train", "baseline/toy", *SMALL, "trainer.max_epochs=1", "logger=none", f"run_dir={tmp_path / 'run'}")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    DAMAGE[damage](saved)
    torch.save(saved, file)
    done = stab("train", f"resume={tmp_path / 'run'}", "trainer.max_epochs=2", check=False)
    assert done.returncode == 2, done.stderr
    assert "last.ckpt is of no training that this one can go on from: " in done.stderr
    assert "Traceback" not in done.stderr
