"""Early stopping that is checked before the training."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping

from asteroid_stab.callbacks.loaders import epoch_is_whole
from asteroid_stab.errors import StabError
from asteroid_stab.run.plan import RunPlan


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping, which checks before a file is written that its metric will be there.

    It goes by the last validation of an epoch, and so ends a training between epochs (``val_check_interval`` may make
    several validations an epoch): a part of an epoch is not kept.

    Args:
        monitor: metric that is watched.
        min_delta: the least change that counts as an improvement.
        patience: validations without an improvement after which the training stops.
        verbose: whether to print each improvement.
        mode: ``min`` or ``max``.
        strict: whether to stop where the metric is missing.
        check_finite: whether to stop where the metric is not finite.
        stopping_threshold: value at which the training stops at once.
        divergence_threshold: value beyond which the training stops at once.
        check_on_train_epoch_end: whether to check at the end of training epochs; None: after validations.
    """

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
    ):
        super().__init__(
            monitor, min_delta, patience, verbose, mode, strict, check_finite, stopping_threshold,
            divergence_threshold, check_on_train_epoch_end,
        )  # fmt: skip

    def _should_skip_check(self, trainer: pl.Trainer) -> bool:
        return super()._should_skip_check(trainer) or not epoch_is_whole(trainer)

    def check(self, plan: RunPlan) -> None:
        """Checks that the run logs the metric, and validates at all.

        Raises:
            StabError: it does not.
        """
        if not plan.validates:
            raise StabError(
                "early_stopping watches the validation, and there is none (trainer.limit_val_batches=0): leave it out "
                "(~callbacks.early_stopping) or validate"
            )
        known = (plan.system.default_monitor, "val/loss")
        if self.monitor not in known:
            raise StabError(
                f"early_stopping can watch {' or '.join(known)} in this run "
                f"(callbacks.early_stopping.monitor=...), got {self.monitor}"
            )
