"""Models with the estimates of every layer, for layer-wise losses and for looking at layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from asteroid.models.base_models import BaseEncoderMaskerDecoder
from asteroid.utils.torch_utils import pad_x_to_y
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asteroid_stab.errors import StabError
from asteroid_stab.models.weight_names import without_layer_heads


class LayeredModel(BaseEncoderMaskerDecoder, ABC):
    """A model whose training mode returns ``[K, B, J, T]``: the estimates of each of its K layers.

    The output of a layer goes through the model's own head (or through a copy that belongs to this layer alone) to
    masks, and the masks through the decoder. The last layer's estimates are the estimates of the plain model, and the
    evaluation mode returns only these, at the plain model's cost. The model's files are the plain model's.

    The heads of the layers before the last keep nothing for the gradient and are computed again in the backward pass,
    a layer at a time: K layers cost little memory, and the time of K - 1 more heads, twice.

    A subclass names the modules of the head (``HEAD``) and implements :meth:`layers` and :meth:`masks`, which
    together are the host's masker.
    """

    HEAD: tuple[str, ...] = ()
    HOST: type = BaseEncoderMaskerDecoder
    layer_heads: nn.ModuleList
    train_early: bool = True

    @property
    def n_layers(self) -> int:
        """K, the number of layers whose estimates the training mode returns."""
        net = self.masker
        return net.num_blocks if hasattr(net, "num_blocks") else net.n_repeats

    def watch_early(self) -> None:
        """Cuts the gradient of the estimates of all layers but the last, which are only watched from now on."""
        self.train_early = False
        self.layer_heads.requires_grad_(False)

    @abstractmethod
    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        """The output of every layer of the masker for a representation ``[B, N, L]``, in their order."""

    @abstractmethod
    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """Masks ``[B, J, N, L]`` of a layer's output."""

    def frames(self, hidden: Tensor, tf_rep: Tensor) -> Tensor:
        """A layer's output by frames of the encoder, ``[B, C, L]``."""
        return hidden

    def own_head(self) -> dict[str, nn.Module]:
        """The modules of the model's own head, by name."""
        return {name: getattr(self.masker, name) for name in self.HEAD}

    def forward(self, wav: Tensor) -> Tensor:
        """Returns the estimates of mixtures ``[B, T]``: ``[K, B, J, T]`` in training mode, else ``[B, J, T]``."""
        if not self.training:
            return super().forward(wav)
        mixture = wav.unsqueeze(1) if wav.ndim == 2 else wav
        tf_rep = self.forward_encoder(mixture)
        hidden = list(self.layers(tf_rep))
        return self.decode_layers(hidden, tf_rep, mixture, [self.own_head()] * len(hidden))

    def decode_layers(
        self, hidden: Sequence[Tensor], tf_rep: Tensor, mixture: Tensor, heads: Sequence[Mapping[str, nn.Module]]
    ) -> Tensor:
        """Estimates ``[K, B, J, T]`` of the outputs of K layers by a head for each; dedicated heads replace ``heads``.

        Raises:
            StabError: there are dedicated heads, for another number of layers.
        """
        n_heads = len(self.layer_heads) + 1
        if n_heads > 1 and n_heads != len(hidden):
            raise StabError(f"the dedicated heads are of {n_heads} layers, got {len(hidden)}")
        own: list[Mapping[str, nn.Module]] = [dict(head.items()) for head in self.layer_heads]  # type: ignore[operator]
        pairs = list(zip(hidden[:-1], own or heads[:-1], strict=True))
        if self.train_early:
            early = [checkpoint(self._decode, h, tf_rep, mixture, head, use_reentrant=False) for h, head in pairs]
        else:
            with torch.no_grad():
                early = [self._decode(h, tf_rep, mixture, head) for h, head in pairs]
        return torch.stack([*early, self._decode(hidden[-1], tf_rep, mixture, heads[-1])])

    def _decode(self, hidden: Tensor, tf_rep: Tensor, mixture: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        masked = self.apply_masks(tf_rep, self.masks(hidden, tf_rep, head))
        return pad_x_to_y(self.forward_decoder(masked), mixture)

    def serialize(self) -> dict[str, Any]:
        """The plain model: its name, its arguments, its weights."""
        conf = super().serialize()
        return {**conf, "model_name": self.HOST.__name__, "state_dict": without_layer_heads(conf["state_dict"])}
