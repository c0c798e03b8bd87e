"""Asteroid's models with the estimates of every layer, for layer-wise losses and for looking at layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from asteroid.models import ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet
from asteroid.models.base_models import BaseEncoderMaskerDecoder
from asteroid.utils.torch_utils import pad_x_to_y
from torch import Tensor, nn
from torch.nn.functional import fold, unfold
from torch.utils.checkpoint import checkpoint

from asteroid_stab.errors import StabError

HEADS = ("shared", "dedicated")


class LayeredModel(BaseEncoderMaskerDecoder):
    """A model whose training mode gives ``[K, B, J, T]``: the estimates that each of its K layers leads to.

    The output of a layer goes through the model's own head (or a copy of it that this layer has to itself) to masks,
    and these through the decoder. The last layer's are the estimates of the plain model, which is also what the
    evaluation mode gives, at its cost. The model's files are the plain model's.

    What a head computes for the layers before the last is not kept for the gradient but computed again in the
    backward pass, a layer at a time: K layers cost little memory, and the time of K - 1 more heads, twice.

    A subclass names the modules of the head (``HEAD``) and implements :meth:`layers` and :meth:`masks`, which
    together are the host's masker.
    """

    HEAD: tuple[str, ...] = ()
    HOST: type = BaseEncoderMaskerDecoder
    layer_heads: nn.ModuleList
    train_early: bool = True

    @property
    def n_layers(self) -> int:
        """K, the layers that the training mode gives the estimates of."""
        net = self.masker
        return net.num_blocks if hasattr(net, "num_blocks") else net.n_repeats

    def watch_early(self) -> None:
        """Layers before the last are only looked at from now on: their estimates carry no gradient."""
        self.train_early = False
        self.layer_heads.requires_grad_(False)

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        """The output of every layer of the masker for a representation ``[B, N, L]``, the last one last."""
        raise NotImplementedError

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """Masks ``[B, J, N, L]`` of a layer's output."""
        raise NotImplementedError

    def frames(self, hidden: Tensor, tf_rep: Tensor) -> Tensor:
        """A layer's output by frames of the encoder, ``[B, C, L]``."""
        return hidden

    def forward(self, wav: Tensor) -> Tensor:
        """``[K, B, J, T]`` in training mode, else ``[B, J, T]``, of mixtures ``[B, T]``."""
        if not self.training:
            return super().forward(wav)
        mixture = wav.unsqueeze(1) if wav.ndim == 2 else wav
        tf_rep = self.forward_encoder(mixture)
        hidden = list(self.layers(tf_rep))
        own = {name: getattr(self.masker, name) for name in self.HEAD}
        heads: list[Mapping[str, nn.Module]] = [own] * len(hidden)
        for i, head in enumerate(self.layer_heads):
            heads[i] = dict(head.items())  # type: ignore[operator]
        pairs = list(zip(hidden[:-1], heads[:-1], strict=True))
        if self.train_early:
            early = [checkpoint(self._decode, h, tf_rep, mixture, head, use_reentrant=False) for h, head in pairs]
        else:
            with torch.no_grad():
                early = [self._decode(h, tf_rep, mixture, head) for h, head in pairs]
        return torch.stack([*early, self._decode(hidden[-1], tf_rep, mixture, own)])

    def _decode(self, hidden: Tensor, tf_rep: Tensor, mixture: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        masked = self.apply_masks(tf_rep, self.masks(hidden, tf_rep, head))
        return pad_x_to_y(self.forward_decoder(masked), mixture)

    def serialize(self) -> dict[str, Any]:
        """The plain model: its name, its arguments, its weights."""
        conf = super().serialize()
        weights = {key: value for key, value in conf["state_dict"].items() if not key.startswith("layer_heads.")}
        return {**conf, "model_name": self.HOST.__name__, "state_dict": weights}


class LayeredConvTasNet(LayeredModel, ConvTasNet):
    """A layer is a repeat; what goes to the head is the sum of the skip connections so far."""

    HEAD, HOST = ("mask_net",), ConvTasNet

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        """See the base."""
        net = self.masker
        output, skips = net.bottleneck(tf_rep), torch.zeros(1, device=tf_rep.device)
        for i, block in enumerate(net.TCN, start=1):
            residual = block(output)
            if net.skip_chan:
                residual, skip = residual
                skips = skips + skip
            output = output + residual
            if i % net.n_blocks == 0:
                yield skips if net.skip_chan else output

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """See the base."""
        net = self.masker
        return net.output_act(head["mask_net"](hidden).view(len(hidden), net.n_src, net.out_chan, -1))


class LayeredDPRNNTasNet(LayeredModel, DPRNNTasNet):
    """A layer is a dual-path block."""

    HEAD, HOST = ("first_out", "net_out", "net_gate", "mask_net"), DPRNNTasNet

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        """See the base."""
        net = self.masker
        output = unfold(net.bottleneck(tf_rep).unsqueeze(-1), **_window(self.masker))
        output = output.reshape(len(tf_rep), net.bn_chan, net.chunk_size, -1)
        for block in net.net:
            output = block(output)
            yield output

    def frames(self, hidden: Tensor, tf_rep: Tensor) -> Tensor:
        """See the base."""
        folded = fold(hidden.flatten(1, 2), (tf_rep.shape[-1], 1), **_window(self.masker))
        return folded.reshape(len(hidden), hidden.shape[1], -1)

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """See the base."""
        net = self.masker
        n_all, n_frames = len(hidden) * net.n_src, tf_rep.shape[-1]
        output = head["first_out"](hidden).reshape(n_all, net.bn_chan * net.chunk_size, -1)
        output = fold(output, (n_frames, 1), **_window(self.masker)).reshape(n_all, net.bn_chan, -1)
        masks = net.output_act(head["mask_net"](head["net_out"](output) * head["net_gate"](output)))
        return masks.view(len(hidden), net.n_src, net.out_chan, n_frames)


def _window(net: Any) -> dict[str, tuple[int, int]]:
    return {"kernel_size": (net.chunk_size, 1), "padding": (net.chunk_size, 0), "stride": (net.hop_size, 1)}


class LayeredDPTNet(LayeredModel, DPTNet):
    """A layer is a dual-path block (an intra- and an inter-chunk transformer)."""

    HEAD, HOST = ("first_out", "net_out", "net_gate"), DPTNet

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        """See the base."""
        net = self.masker
        if net.input_layer is not None:
            tf_rep = net.input_layer(tf_rep.transpose(1, 2)).transpose(1, 2)
        output = net.ola.unfold(net.in_norm(tf_rep))
        for intra, inter in net.layers:
            output = net.ola.inter_process(net.ola.intra_process(output, intra), inter)
            yield output

    def frames(self, hidden: Tensor, tf_rep: Tensor) -> Tensor:
        """See the base."""
        return self.masker.ola.fold(hidden, output_size=tf_rep.shape[-1])

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """See the base."""
        net = self.masker
        batch, _, chunk_size, n_chunks = hidden.shape
        output = head["first_out"](hidden).reshape(batch * net.n_src, net.in_chan, chunk_size, n_chunks)
        output = net.ola.fold(output, output_size=tf_rep.shape[-1])
        output = head["net_out"](output) * head["net_gate"](output)
        return net.output_act(output.reshape(batch, net.n_src, net.in_chan, -1))


class LayeredSuDORMRFImprovedNet(LayeredModel, SuDORMRFImprovedNet):
    """A layer is a U-shaped block."""

    HEAD, HOST = ("mask_net",), SuDORMRFImprovedNet

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        """See the base."""
        net = self.masker
        output = net.bottleneck(net.ln(tf_rep))
        for block in net.sm:
            output = block(output)
            yield output

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        """See the base."""
        net = self.masker
        return net.output_act(head["mask_net"](hidden).view(len(hidden), net.n_src, net.in_chan, -1))


_LAYERED = {c.HOST: c for c in (LayeredConvTasNet, LayeredDPRNNTasNet, LayeredDPTNet, LayeredSuDORMRFImprovedNet)}


def layered_model(model: nn.Module, head: str = "shared") -> LayeredModel:
    """Makes one of Asteroid's models give the estimates of every layer in training; in place, weights untouched.

    Args:
        model: a ConvTasNet, DPRNNTasNet, DPTNet or SuDORMRFImprovedNet.
        head: ``shared``: the model's head serves every layer; ``dedicated``: each layer before the last has a copy of
            it to itself, which is trained and in the checkpoints, but in no model file.

    Raises:
        StabError: the model is of another kind, or ``head`` is none of the two.

    Example:
        >>> from asteroid_stab.models import conv_tasnet
        >>> model = layered_model(conv_tasnet(n_src=3, n_filters=16, n_blocks=2, n_repeats=4, bn_chan=4, hid_chan=8))
        >>> model(torch.randn(2, 800)).shape, model.eval()(torch.randn(2, 800)).shape
        (torch.Size([4, 2, 3, 800]), torch.Size([2, 3, 800]))

    References:
        Gao et al., "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization", arXiv 2311.12199. That the final head serves all layers is our reading: the paper shows layers'
        switches of models that were trained without it.
    """
    kind = host_of(model)
    if head not in HEADS:
        raise StabError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
    plain: Any = model
    plain.__class__ = kind
    copies = []
    if head == "dedicated":
        own = {name: getattr(plain.masker, name) for name in kind.HEAD}
        copies = [nn.ModuleDict(copy.deepcopy(own)) for _ in range(plain.n_layers - 1)]
    plain.layer_heads = nn.ModuleList(copies)
    return plain


def host_of(model: nn.Module) -> type[LayeredModel]:
    """The class that knows the layers of a model.

    Raises:
        StabError: there is none.
    """
    if type(model) not in _LAYERED:
        known = ", ".join(host.__name__ for host in _LAYERED)
        raise StabError(f"layers are known of {known}, got {type(model).__name__}")
    return _LAYERED[type(model)]
