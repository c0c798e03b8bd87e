"""Asteroid's dual-path models behind explicit signatures."""

from __future__ import annotations

from asteroid.models import DPRNNTasNet, DPTNet

from asteroid_stab.masknn import use_fast_kernels


def dprnn_tasnet(
    n_src: int,
    sample_rate: float = 8000,
    n_filters: int = 64,
    kernel_size: int = 16,
    stride: int = 8,
    n_repeats: int = 6,
    bn_chan: int = 128,
    hid_size: int = 128,
    chunk_size: int = 100,
    hop_size: int | None = None,
    rnn_type: str = "LSTM",
    num_layers: int = 1,
    bidirectional: bool = True,
    use_mulcat: bool = False,
    dropout: float = 0.0,
    norm_type: str = "gLN",
    mask_act: str = "sigmoid",
    encoder_activation: str | None = None,
) -> DPRNNTasNet:
    """Builds Asteroid's own ``DPRNNTasNet``, with fast kernels (:func:`~asteroid_stab.masknn.use_fast_kernels`).

    Args:
        n_src: number of sources.
        sample_rate: in Hz.
        n_filters: filters of the encoder.
        kernel_size: length of a filter, in samples.
        stride: hop of the encoder, in samples.
        n_repeats: dual-path blocks.
        bn_chan: channels between blocks.
        hid_size: units of an RNN in one direction.
        chunk_size: length of a chunk, in frames.
        hop_size: hop of the chunks, in frames; None is half a chunk.
        rnn_type: ``LSTM``, ``GRU`` or ``RNN``.
        num_layers: layers of an RNN.
        bidirectional: whether the RNN over chunks runs in both directions.
        use_mulcat: multiply-and-concatenate RNNs.
        dropout: in the RNNs, a probability.
        norm_type: ``gLN``, ``cLN``, or another that ``asteroid.masknn.norms.get`` knows.
        mask_act: activation of the masks.
        encoder_activation: activation after the encoder, or None.

    Shapes:
        - model input ``[B, T]``, output ``[B, J, T]``.

    References:
        Luo, Chen, Yoshioka, "Dual-path RNN", ICASSP 2020, arXiv 1910.06379.
    """
    model = DPRNNTasNet(**locals())  # the arguments have the host's names
    use_fast_kernels(model)
    return model


def dptnet(
    n_src: int,
    sample_rate: float = 8000,
    n_filters: int = 64,
    kernel_size: int = 16,
    stride: int = 8,
    n_repeats: int = 6,
    n_heads: int = 4,
    ff_hid: int = 256,
    chunk_size: int = 100,
    hop_size: int | None = None,
    bidirectional: bool = True,
    dropout: float = 0.0,
    norm_type: str = "gLN",
    ff_activation: str = "relu",
    mask_act: str = "relu",
    encoder_activation: str | None = "relu",
) -> DPTNet:
    """Builds Asteroid's own ``DPTNet``, with fast kernels (:func:`~asteroid_stab.masknn.use_fast_kernels`).

    Args:
        n_src: number of sources.
        sample_rate: in Hz.
        n_filters: filters of the encoder, and channels of the network; a multiple of ``n_heads``.
        kernel_size: length of a filter, in samples.
        stride: hop of the encoder, in samples.
        n_repeats: dual-path blocks.
        n_heads: heads of the attention.
        ff_hid: units of the RNN that replaces the feed-forward layer, in one direction.
        chunk_size: length of a chunk, in frames.
        hop_size: hop of the chunks, in frames; None is half a chunk.
        bidirectional: whether the RNN over chunks runs in both directions.
        dropout: a probability.
        norm_type: ``gLN``, ``cLN``, or another that ``asteroid.masknn.norms.get`` knows.
        ff_activation: activation after the RNN.
        mask_act: activation of the masks.
        encoder_activation: activation after the encoder, or None.

    Shapes:
        - model input ``[B, T]``, output ``[B, J, T]``.

    References:
        Chen, Mao, Liu, "Dual-path transformer network", Interspeech 2020, arXiv 2007.13975.
    """
    model = DPTNet(**locals())  # the arguments have the host's names
    use_fast_kernels(model)
    return model
