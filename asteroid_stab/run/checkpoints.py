"""Checkpoints of earlier versions, in the form that this version writes."""

from __future__ import annotations

import re
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from asteroid_stab.errors import StabError
from asteroid_stab.models.files import write_saved
from asteroid_stab.models.saved import check_archive
from asteroid_stab.run.epochs import shown_epoch

_DATA_MODULE = "MixtureDataModule"  # Lightning keeps the data module's state under the name of its class
_PRETEXT = re.compile(r"^pretext\.")
_STAGES = re.compile(r"^(loss_func\.(?:loss\.)?)stages\.")  # of a SwitchedLossWrapper, alone or in a layer-wise loss


def upgrade_checkpoint(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns a Lightning checkpoint as this version would have written it.

    A corpus was its own data module, so that the state of the training data stood under the name of its class. A
    pretext task stood beside a loss that it did not use; it is the system's ``loss_func`` now. The phases of a switched
    loss were called stages.

    Example:
        >>> upgrade_checkpoint({"epoch": 3, "ToyData": {"fingerprint": "f00d"}})
        {'epoch': 3, 'MixtureDataModule': {'fingerprint': 'f00d'}}
        >>> upgrade_checkpoint({"state_dict": {"model.a": 1, "pretext.head.b": 2}})
        {'state_dict': {'model.a': 1, 'loss_func.head.b': 2}}
        >>> upgrade_checkpoint({"state_dict": {"loss_func.stages.attention.a": 1}})
        {'state_dict': {'loss_func.phases.attention.a': 1}}
        >>> own = {"training_config": {"loss": {"_target_": "my.Loss"}}, "state_dict": {"loss_func.stages.a": 1}}
        >>> upgrade_checkpoint(own)["state_dict"]
        {'loss_func.stages.a': 1}
    """

    def is_of_data(value: Any) -> bool:
        return isinstance(value, dict) and [*value] == ["fingerprint"]

    if "state_dict" in saved:
        config = saved.get("training_config") or {}
        target = config.get("loss", {}).get("_target_", "") if isinstance(config, dict) else ""
        phased = not target or str(target).endswith(".SwitchedLossWrapper")  # another loss keeps its own "stages"
        renamed = {name: _PRETEXT.sub("loss_func.", name) for name in saved["state_dict"]}
        renamed = {old: _STAGES.sub(r"\1phases.", new) if phased else new for old, new in renamed.items()}
        weights = {renamed[name]: value for name, value in saved["state_dict"].items()}
        saved = {**saved, "state_dict": weights}
    return {_DATA_MODULE if is_of_data(value) else key: value for key, value in saved.items()}


def progress_of(saved: dict[str, Any] | None) -> str:
    """Returns how far the training of a checkpoint has come, in words.

    Example:
        >>> progress_of({"epoch": 2, "global_step": 12}), progress_of(None)
        ('epoch 3, step 12', 'no checkpoint')
    """
    return "no checkpoint" if saved is None else f"epoch {shown_epoch(saved['epoch'])}, step {saved['global_step']}"


class UpgradedCheckpoints(TorchCheckpointIO):
    """Lightning's reader and writer of checkpoints, which reads checkpoints of earlier versions too.

    It writes at the given path alone: Lightning's own writes to the system's folder for temporary files first, whose
    disk may be small, and where a kill leaves a copy behind. That the old checkpoint stays whole is
    :class:`~asteroid_stab.callbacks.RunCheckpoint`'s work.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        write_saved(checkpoint, path)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            check_archive(path)
        except ValueError as error:
            raise StabError(f"{str(path)!r} is no readable checkpoint: {error}") from error
        return upgrade_checkpoint(super().load_checkpoint(path, *args, **kwargs))
