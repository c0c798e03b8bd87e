"""Checkpoints of earlier versions, in the form that this version writes."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

_DATA_MODULE = "MixtureDataModule"  # Lightning keeps the data module's state under the name of its class


def upgrade_checkpoint(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns a Lightning checkpoint as this version would have written it.

    A corpus was its own data module, so that the state of the training data stood under the name of its class.

    Example:
        >>> upgrade_checkpoint({"epoch": 3, "ToyData": {"fingerprint": "f00d"}})
        {'epoch': 3, 'MixtureDataModule': {'fingerprint': 'f00d'}}
    """

    def is_of_data(value: Any) -> bool:
        return isinstance(value, dict) and [*value] == ["fingerprint"]

    return {_DATA_MODULE if is_of_data(value) else key: value for key, value in saved.items()}


class UpgradedCheckpoints(TorchCheckpointIO):
    """Lightning's reader and writer of checkpoints, which reads checkpoints of earlier versions too."""

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return upgrade_checkpoint(super().load_checkpoint(path, *args, **kwargs))
