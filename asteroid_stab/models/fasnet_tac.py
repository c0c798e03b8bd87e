"""Asteroid's FasNet-TAC, a beamformer for any number of microphones, behind an explicit signature."""

from __future__ import annotations

from typing import Any

from asteroid import models
from asteroid.models import FasNetTAC
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.masknn import use_fast_kernels


class MultiMicFasNetTAC(FasNetTAC):
    """Asteroid's ``FasNetTAC``, for any number of microphones, one included, in any places.

    It estimates filters for each microphone, and gives the mean of the filtered microphones. The host's class takes no
    mixtures of one microphone ``[B, T]``, and counts its stride in samples where it was given in milliseconds when a
    file is read; its windows always go by half a window, so that there is no stride here.

    Args:
        n_src: number of sources.
        sample_rate: in Hz.
        enc_dim: filters of the encoder.
        feature_dim: channels between blocks.
        hidden_dim: neurons of the recurrent layers.
        n_layers: dual-path blocks.
        window_ms: length of a window that is filtered, in milliseconds; even.
        context_ms: what the filters hear before and after it, in milliseconds.
        tac_hidden_dim: size of the layers that join the microphones.
        norm_type: ``gLN``, ``cLN``, or another that ``asteroid.masknn.norms.get`` knows.
        chunk_size: length of a chunk, in frames.
        hop_size: hop of the chunks, in frames.
        bidirectional: whether the recurrent layers over chunks go both ways.
        rnn_type: ``RNN``, ``LSTM`` or ``GRU``.
        dropout: share of the recurrent layers' outputs that are dropped in training.
        use_tac: whether microphones are joined (transform, average, concatenate) after each block.

    Shapes:
        - model input ``[B, C, T]``, the reference microphone first, or ``[B, T]``; output ``[B, J, T]``.

    Raises:
        StabError: (``forward``) the mixtures have another shape.

    Example:
        >>> import torch
        >>> model = MultiMicFasNetTAC(3, enc_dim=4, feature_dim=4, hidden_dim=4, n_layers=1, tac_hidden_dim=4)
        >>> [model(torch.randn(2, n_mics, 800)).shape for n_mics in (1, 4)]
        [torch.Size([2, 3, 800]), torch.Size([2, 3, 800])]

    References:
        Luo, Chen, Mesgarani, Yoshioka, "End-to-end microphone permutation and number invariant multi-channel speech
        separation", ICASSP 2020, arXiv 1910.14104.
    """

    output_layers = ("conv_2D.1",)

    def __init__(
        self,
        n_src: int,
        sample_rate: float = 8000,
        enc_dim: int = 64,
        feature_dim: int = 64,
        hidden_dim: int = 128,
        n_layers: int = 4,
        window_ms: int = 4,
        context_ms: int = 16,
        tac_hidden_dim: int = 384,
        norm_type: str = "gLN",
        chunk_size: int = 50,
        hop_size: int = 25,
        bidirectional: bool = True,
        rnn_type: str = "LSTM",
        dropout: float = 0.0,
        use_tac: bool = True,
    ):
        args = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(**args)
        self._args = args
        use_fast_kernels(self)

    def forward(self, x: Tensor, valid_mics: Tensor | None = None) -> Tensor:
        """Returns the estimates of mixtures.

        Args:
            x: the mixtures.
            valid_mics: ``[B]``, number of microphones of each item, whose channels come first; None: all are.
        """
        if x.ndim not in (2, 3):
            raise StabError(f"the model takes mixtures [B, C, T] or [B, T], got {list(x.shape)}")
        return super().forward(x.unsqueeze(1) if x.ndim == 2 else x, valid_mics)

    def get_model_args(self) -> dict[str, Any]:
        """The constructor's arguments that build this model again."""
        return dict(self._args)


if not hasattr(models, "MultiMicFasNetTAC"):  # a reloaded module does not register twice
    models.register_model(MultiMicFasNetTAC)
