"""Asteroid's ConvTasNet behind an explicit signature."""

from __future__ import annotations

from asteroid.models import ConvTasNet

from asteroid_stab.masknn import use_fast_kernels


def conv_tasnet(
    n_src: int,
    sample_rate: float = 8000,
    n_filters: int = 512,
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
) -> ConvTasNet:
    """Builds Asteroid's own ``ConvTasNet``, so that its files open in plain Asteroid.

    Asteroid's constructor takes ``**fb_kwargs``, in which a misspelt option disappears; this signature names them all.
    The residual convolution of the last block feeds nothing (only its skip output is used): its two parameters never
    get a gradient, which plain DDP does not allow, so they are frozen here. Norms, PReLUs and depthwise convolutions
    are computed in less time (:func:`~asteroid_stab.masknn.use_fast_kernels`).

    Args:
        n_src: number of sources.
        sample_rate: in Hz.
        n_filters: filters of the encoder.
        kernel_size: length of a filter, in samples.
        stride: hop of the encoder, in samples.
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
        - model input ``[B, T]``, output ``[B, J, T]``.

    Example:
        >>> import torch
        >>> model = conv_tasnet(n_src=3, n_filters=16, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=4)
        >>> model(torch.randn(2, 800)).shape
        torch.Size([2, 3, 800])

    References:
        Luo and Mesgarani, "Conv-TasNet", IEEE/ACM TASLP 2019, arXiv 1809.07454.
    """
    model = ConvTasNet(**locals())  # the arguments have the host's names
    if skip_chan:  # without skip connections the masks come from the residual output
        model.masker.TCN[-1].res_conv.requires_grad_(False)
    use_fast_kernels(model)
    return model
