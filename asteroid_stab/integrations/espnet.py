"""The training step in ESPnet's enhancement model."""

from __future__ import annotations

from typing import Any

import torch

from asteroid_stab.errors import StabError
from asteroid_stab.integrations import missing
from asteroid_stab.stabilizers import Stabilization

try:
    from espnet2.enh.espnet_model import ESPnetEnhancementModel
    from espnet2.torch_utils.device_funcs import force_gatherable
except ImportError as error:
    install = "pip install --no-deps espnet typeguard librosa lazy-loader torch-complex humanfriendly joblib"
    raise missing(__name__, error, install) from error


class StabilizedEnhancementModel(ESPnetEnhancementModel):
    """ESPnet's model for separation, trained with a :class:`~asteroid_stab.stabilizers.Stabilization`.

    It is made by :func:`stabilized`. In training, the loss is the stabilization's, of waveforms; validation goes by
    ESPnet's own criteria, and reports the figures of the training epoch as ``train_NAME`` besides. An epoch begins with
    the first batch of training after a validation, and ends with the next validation. Ids are the names of the
    utterances, which ESPnet's trainer passes on; its chunk iterator gives an utterance several times, which what
    remembers items refuses: use ``iterator_type: sequence``.
    """

    stab: Stabilization
    figures: dict[str, float]

    def train(self, mode: bool = True) -> StabilizedEnhancementModel:
        if not mode and self.stab.progress.open and self.stab.progress.n_calls:
            self.figures = self.stab.end_epoch()
        return super().train(mode)

    def forward(self, speech_mix: Any, speech_mix_lengths: Any = None, **kwargs: Any) -> Any:
        self._mixture, self._ids = speech_mix, kwargs.get("utt_id")
        return super().forward(speech_mix, speech_mix_lengths, **kwargs)

    def forward_loss(self, speech_pre: Any, lengths: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.training:
            loss, stats, weight, perm = super().forward_loss(speech_pre, lengths, *args, **kwargs)
            stats |= {f"train_{name}": torch.full_like(loss, value) for name, value in self.figures.items()}
            return loss, stats, weight, perm
        if speech_pre is None or hasattr(self, "_is_replica"):
            raise StabError("a stabilization needs waveforms that the model estimates, and one process a GPU")
        if (epoch := self.stab.progress.due) is not None:
            self.stab.begin_epoch(epoch)
        several = isinstance(speech_pre[0], (list, tuple))  # a list of sources for each layer
        layers, speech_ref = speech_pre if several else [speech_pre], args[3]
        pairs = [self._align_ref_pre_channels(speech_ref, layer, ch_dim=2, force_1ch=True) for layer in layers]
        est, src = torch.stack([torch.stack(pre, 1) for _, pre in pairs]), torch.stack(pairs[0][0], 1)
        mixture = self._mixture[..., self.ref_channel] if self._mixture.ndim == 3 else self._mixture
        est, mixture = est if several else est[0], mixture[:, : src.shape[-1]]
        loss = self.stab(est, src, mixture, self._ids, lengths=lengths)
        # The loss is weighed over all processes already: a weight of 1 each keeps ESPnet from weighing it again.
        return *force_gatherable((loss, {"loss": loss.detach()}, 1), loss.device), None


def stabilized(model: Any, stab: Stabilization) -> StabilizedEnhancementModel:
    """Returns an ``ESPnetEnhancementModel``, the same object, as a :class:`StabilizedEnhancementModel`.

    For ``build_model`` of a task. In its ``build_optimizers``, :func:`~asteroid_stab.stabilizers.carry_state` puts the
    stabilization into ``checkpoint.pth``, and :func:`~asteroid_stab.stabilizers.skip_empty_steps` keeps steps without
    an item from moving weights.

    Args:
        model: that ESPnet made.
        stab: the training step; with the names of the training utterances as ``items``, where something goes by items.

    Raises:
        StabError: the model is trained on noise or reverberation besides, whose losses the stabilization leaves out.
    """
    for criterion in [wrapper.criterion for wrapper in model.loss_wrappers or ()]:
        if criterion.is_noise_loss or criterion.is_dereverb_loss:
            raise StabError(f"{criterion.name} is no loss of speech, on which alone a stabilization trains: remove it")
    model.__class__ = StabilizedEnhancementModel
    model.stab, model.stab_loss, model.figures = stab, stab.loss, {}
    return model
