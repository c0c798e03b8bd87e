"""The layers of Asteroid's models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from asteroid.models import ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.multi_mic_conv_tasnet import MultiMicConvTasNet


class _Repeats(LayeredModel):
    """The layers of a TDConvNet: a repeat, whose output is the sum of the skip connections so far."""

    HEAD = ("mask_net",)

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
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
        net = self.masker
        return net.output_act(head["mask_net"](hidden).view(len(hidden), net.n_src, net.out_chan, -1))


class LayeredConvTasNet(_Repeats, ConvTasNet):
    """A layer is a repeat; its output, which goes to the head, is the sum of the skip connections so far."""

    HOST = ConvTasNet


class LayeredMultiMicConvTasNet(_Repeats, MultiMicConvTasNet):
    """The same of several microphones."""

    HOST = MultiMicConvTasNet


class LayeredDPRNNTasNet(LayeredModel, DPRNNTasNet):
    """A layer is a dual-path block."""

    HEAD, HOST = ("first_out", "net_out", "net_gate", "mask_net"), DPRNNTasNet

    def layers(self, tf_rep: Tensor) -> Iterator[Tensor]:
        net = self.masker
        output = unfold(net.bottleneck(tf_rep).unsqueeze(-1), **_window(self.masker))
        output = output.reshape(len(tf_rep), net.bn_chan, net.chunk_size, -1)
        for block in net.net:
            output = block(output)
            yield output

    def frames(self, hidden: Tensor, tf_rep: Tensor) -> Tensor:
        folded = fold(hidden.flatten(1, 2), (tf_rep.shape[-1], 1), **_window(self.masker))
        return folded.reshape(len(hidden), hidden.shape[1], -1)

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
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
        net = self.masker
        if net.input_layer is not None:
            tf_rep = net.input_layer(tf_rep.transpose(1, 2)).transpose(1, 2)
        output = net.ola.unfold(net.in_norm(tf_rep))
        for intra, inter in net.layers:
            output = net.ola.inter_process(net.ola.intra_process(output, intra), inter)
            yield output

    def frames(self, hidden: Tensor, tf_rep: Tensor) -> Tensor:
        return self.masker.ola.fold(hidden, output_size=tf_rep.shape[-1])

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
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
        net = self.masker
        output = net.bottleneck(net.ln(tf_rep))
        for block in net.sm:
            output = block(output)
            yield output

    def masks(self, hidden: Tensor, tf_rep: Tensor, head: Mapping[str, nn.Module]) -> Tensor:
        net = self.masker
        return net.output_act(head["mask_net"](hidden).view(len(hidden), net.n_src, net.in_chan, -1))
