"""Asteroid's SuDoRM-RF behind an explicit signature."""

from __future__ import annotations

from asteroid.models import SuDORMRFImprovedNet

from asteroid_stab.masknn import use_fast_kernels


def sudormrf(
    n_src: int,
    sample_rate: float = 8000,
    n_filters: int = 512,
    kernel_size: int = 21,
    stride: int | None = None,
    bn_chan: int = 128,
    num_blocks: int = 16,
    upsampling_depth: int = 4,
    mask_act: str = "relu",
) -> SuDORMRFImprovedNet:
    """Builds Asteroid's ``SuDORMRFImprovedNet``, with fast kernels (:func:`~asteroid_stab.masknn.use_fast_kernels`).

    Args:
        n_src: number of sources.
        sample_rate: in Hz.
        n_filters: filters of the encoder, and channels within a block.
        kernel_size: length of a filter, in samples.
        stride: hop of the encoder, in samples; None is half a filter.
        bn_chan: channels between blocks.
        num_blocks: U-shaped blocks.
        upsampling_depth: resolutions in a block.
        mask_act: activation of the masks.

    Shapes:
        - model input ``[B, T]``, output ``[B, J, T]``.

    References:
        Tzinis, Wang, Jiang, Smaragdis, "Compute and memory efficient universal sound source separation", Journal of
        Signal Processing Systems 94, 2022, arXiv 2103.02644: the improved model; the first one is of Tzinis, Wang,
        Smaragdis, "Sudo rm -rf: efficient networks for universal audio source separation", MLSP 2020, arXiv 2007.06833.
    """
    model = SuDORMRFImprovedNet(**locals())  # the arguments have the host's names
    use_fast_kernels(model)
    return model
