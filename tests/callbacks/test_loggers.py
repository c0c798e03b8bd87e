"""Loggers: each writes under the run folder, and its package is named where it is missing."""

import importlib.util

import pytest

from asteroid_stab.callbacks import loggers

SERVICES = {"wandb": "wandb", "mlflow": "mlflow"}


def test_tensorboard_writes_under_the_run_folder(tmp_path):
    logger = loggers.tensorboard(str(tmp_path))
    logger.log_metrics({"val/si_sdr": 1.0}, step=0)
    logger.finalize("success")
    assert list((tmp_path / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_package_that_is_missing_is_named(tmp_path, name):
    if importlib.util.find_spec(SERVICES[name]) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(ModuleNotFoundError, match=name):
        getattr(loggers, name)(str(tmp_path))


def test_mlflow_writes_under_the_run_folder(tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow.tracking", reason="mlflow-skinny is not installed (extra mlflow)").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logger = loggers.mlflow(str(tmp_path), name="one")
    logger.log_metrics({"val/si_sdr": 1.0}, step=3)
    logger.log_hyperparams({"optim": {"lr": 0.1}})
    logger.finalize("success")
    run = client(f"sqlite:///{tmp_path.resolve()}/mlflow.db").get_run(logger.run_id)
    assert run.data.metrics == {"val/si_sdr": 1.0}
    assert run.data.params == {"optim/lr": "0.1"}
    assert run.info.run_name == "one"


def test_mlflow_goes_to_the_server_of_the_environment(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(loggers, "MLFlowLogger", lambda **kwargs: seen.update(kwargs))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    loggers.mlflow(str(tmp_path), "a")
    assert seen == {"experiment_name": "a", "run_name": None, "tracking_uri": "http://localhost:5000"}
