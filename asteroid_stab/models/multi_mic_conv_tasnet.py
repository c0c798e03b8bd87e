"""ConvTasNet with several microphones: filters that span them, and masks on the reference microphone."""

from __future__ import annotations

from typing import Any

import torch
from asteroid import models
from asteroid.masknn import TDConvNet
from asteroid.models.base_models import BaseEncoderMaskerDecoder
from asteroid_filterbanks import make_enc_dec
from torch import Tensor, nn

from asteroid_stab.errors import StabError
from asteroid_stab.masknn import use_fast_kernels


class MultiMicConvTasNet(BaseEncoderMaskerDecoder):
    """Asteroid's ConvTasNet, whose masker also sees what filters that span all microphones give.

    The encoder, the decoder and the masks are of the reference microphone. The masker gets the encoder's output and,
    joined to it, ``n_spatial`` features of learnt filters over all C microphones with the encoder's length and hop.

    Args:
        n_src: number of sources.
        n_mics: C, the number of microphones; at least 2.
        sample_rate: in Hz.
        n_filters: filters of the encoder.
        n_spatial: filters that span the microphones.
        kernel_size: length of a filter, in samples.
        stride: hop of the filters, in samples.
        n_blocks: blocks in a repeat, with dilations 1, 2, 4, ...
        n_repeats: repeats.
        bn_chan: channels between blocks.
        hid_chan: channels in a block.
        skip_chan: channels of the skip connections.
        conv_kernel_size: kernel of the depthwise convolutions, in frames.
        norm_type: ``gLN``, ``cLN``, or another that ``asteroid.masknn.norms.get`` knows.
        mask_act: activation of the masks.
        encoder_activation: activation after the encoder, or None.

    Shapes:
        - model input ``[B, C, T]``, the reference microphone first, output ``[B, J, T]``.

    Raises:
        StabError: there are fewer than two microphones, or (``forward``) another number than ``n_mics``.

    Example:
        >>> model = MultiMicConvTasNet(n_src=3, n_mics=4, n_filters=16, n_spatial=8, n_blocks=2, n_repeats=1, bn_chan=4)
        >>> model(torch.randn(2, 4, 800)).shape
        torch.Size([2, 3, 800])

    References:
        Luo and Mesgarani, "Conv-TasNet", IEEE/ACM TASLP 2019, arXiv 1809.07454. Filters that span the microphones,
        beside the encoder of a reference: Gu et al., "Enhancing end-to-end multi-channel speech separation via spatial
        feature learning", ICASSP 2020, arXiv 2003.03927, by 2-D convolutions. One bank over all microphones, without an
        activation, is our reading.
    """

    def __init__(
        self,
        n_src: int,
        n_mics: int = 2,
        sample_rate: float = 8000,
        n_filters: int = 512,
        n_spatial: int = 128,
        kernel_size: int = 16,
        stride: int = 8,
        n_blocks: int = 8,
        n_repeats: int = 3,
        bn_chan: int = 128,
        hid_chan: int = 512,
        skip_chan: int = 128,
        conv_kernel_size: int = 3,
        norm_type: str = "gLN",
        mask_act: str = "sigmoid",
        encoder_activation: str | None = None,
    ):
        args = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if isinstance(n_mics, bool) or not isinstance(n_mics, int) or n_mics < 2:
            raise StabError(f"n_mics must be a whole number of at least 2, got {n_mics!r}: one is for model=convtasnet")
        encoder, decoder = make_enc_dec(
            "free", n_filters=n_filters, kernel_size=kernel_size, stride=stride, sample_rate=sample_rate
        )
        masker = TDConvNet(
            n_filters + n_spatial, n_src, out_chan=n_filters, n_blocks=n_blocks, n_repeats=n_repeats, bn_chan=bn_chan,
            hid_chan=hid_chan, skip_chan=skip_chan, conv_kernel_size=conv_kernel_size, norm_type=norm_type,
            mask_act=mask_act,
        )  # fmt: skip
        super().__init__(encoder, masker, decoder, encoder_activation)
        self.spatial = nn.Conv1d(n_mics, n_spatial, kernel_size, stride, bias=False)
        self.in_channels = n_mics
        self.n_filters, self._args = n_filters, args
        if skip_chan:  # the residual output of the last block feeds nothing, which plain DDP does not allow
            masker.TCN[-1].res_conv.requires_grad_(False)
        use_fast_kernels(self)

    def forward_encoder(self, wav: Tensor) -> Tensor:
        """Returns the encoder's output, then the spatial features: ``[B, N + n_spatial, L]``."""
        if wav.ndim != 3 or wav.shape[1] != self.in_channels:
            raise StabError(f"the model takes mixtures [B, {self.in_channels}, T], got {list(wav.shape)}")
        return torch.cat([super().forward_encoder(wav[:, :1]), self.spatial(wav)], 1)

    def apply_masks(self, tf_rep: Tensor, est_masks: Tensor) -> Tensor:
        """Applies the masks to the encoder's part."""
        return super().apply_masks(tf_rep[:, : self.n_filters], est_masks)

    def get_model_args(self) -> dict[str, Any]:
        """The constructor's arguments that build this model again."""
        return dict(self._args)


if not hasattr(models, "MultiMicConvTasNet"):  # a reloaded module does not register twice
    models.register_model(MultiMicConvTasNet)
