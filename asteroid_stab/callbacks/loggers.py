"""Lightning's loggers behind explicit signatures (the hosts' take ``**kwargs``, in which a typo disappears)."""

from __future__ import annotations

from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

from asteroid_stab.run.layout import RunLayout


def tensorboard(save_dir: str) -> TensorBoardLogger:
    """TensorBoard files under ``save_dir``."""
    return TensorBoardLogger(save_dir, name=RunLayout(save_dir).tensorboard.name, version="", default_hp_metric=False)


def wandb(save_dir: str, project: str = "asteroid-stab", name: str | None = None, offline: bool = True) -> WandbLogger:
    """Weights & Biases under ``save_dir``.

    Args:
        save_dir: folder of the run's files.
        project: project on the service.
        name: the run's name; None lets the service choose.
        offline: keeps the files here until ``wandb sync`` is called.

    Raises:
        ModuleNotFoundError: the package is not installed (extra ``wandb``).
    """
    return WandbLogger(save_dir=save_dir, project=project, name=name, offline=offline)
