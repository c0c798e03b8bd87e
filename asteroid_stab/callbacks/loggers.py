"""Lightning's loggers with explicit signatures: theirs take ``**kwargs``, which hide a misspelt name."""

from __future__ import annotations

import os

from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from asteroid_stab.run.layout import RunLayout


def tensorboard(save_dir: str) -> TensorBoardLogger:
    """Returns a logger that writes TensorBoard files under ``save_dir``."""
    return TensorBoardLogger(save_dir, name=RunLayout(save_dir).tensorboard.name, version="", default_hp_metric=False)


def wandb(save_dir: str, project: str = "asteroid-stab", name: str | None = None, offline: bool = True) -> WandbLogger:
    """Returns a logger of Weights & Biases that keeps its files under ``save_dir``.

    Args:
        save_dir: folder of the run's files.
        project: project on the service.
        name: the run's name; None lets the service choose.
        offline: keeps the files here until ``wandb sync`` is called.

    Raises:
        ModuleNotFoundError: the package is not installed (extra ``wandb``).
    """
    return WandbLogger(save_dir=save_dir, project=project, name=name, offline=offline)


def mlflow(save_dir: str, experiment: str = "asteroid-stab", name: str | None = None) -> MLFlowLogger:
    """Returns a logger of MLflow that writes the database ``mlflow.db`` under ``save_dir``, or to a server.

    The server is the one that ``MLFLOW_TRACKING_URI`` in the environment names: a config of somebody else cannot.

    Args:
        save_dir: folder of the run's files.
        experiment: experiment that the run belongs to.
        name: the run's name; None lets MLflow choose.

    Raises:
        ModuleNotFoundError: the package is not installed (extra ``mlflow``).
    """
    address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{RunLayout(save_dir).mlflow.resolve()}"
    return MLFlowLogger(experiment_name=experiment, run_name=name, tracking_uri=address)
