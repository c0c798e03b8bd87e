"""Early stopping that is checked before the training."""

import pytest

from asteroid_stab.callbacks import EarlyStopping
from asteroid_stab.errors import StabError
from asteroid_stab.run.plan import RunPlan


class System:
    default_monitor = "val/si_sdr"


@pytest.mark.parametrize(
    ("monitor", "validates", "message"),
    [
        ("val/pesq", True, r"can watch val/si_sdr or val/loss in this run \(callbacks.early_stopping.monitor=...\)"),
        ("val/si_sdr", False, r"there is none \(trainer.limit_val_batches=0\): leave it out \(~callbacks.early_stop"),
    ],
)
def test_a_metric_that_is_never_there_is_refused(monitor, validates, message):
    plan = RunPlan(2, system=System(), validates=validates)
    with pytest.raises(StabError, match=message):
        EarlyStopping(monitor).check(plan)


@pytest.mark.parametrize("monitor", ["val/si_sdr", "val/loss"])
def test_what_the_run_logs_is_taken(monitor):
    EarlyStopping(monitor).check(RunPlan(2, system=System()))
