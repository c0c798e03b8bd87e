"""Models of the size of their authors' recipes with fewer channels, so that a step takes seconds on one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

OWN = ("convtasnet", "dprnn", "dptnet", "sudormrf")
HOSTED = {"sepformer": "masknet.dual_mdl.*", "tfgridnet": "blocks.*"}
"""Models of other toolkits, which must be installed, and the names of their layers."""
MODELS = (*OWN, *HOSTED)
SMALL = "small"
"""A ConvTasNet of 0.3 M parameters with few frames, as the demo's: what is beside the model weighs most."""


def model_of(kind: str, n_layers: int, n_src: int) -> Any:
    """Returns a model with ``n_layers`` layers.

    Args:
        kind: one of :data:`MODELS`, or :data:`SMALL`.
        n_layers: number of layers.
        n_src: number of sources.
    """
    from asteroid.models import ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet

    from asteroid_stab.models import conv_tasnet, hosted

    sepformer = {
        "_target_": "speechbrain.lobes.models.dual_path.SepformerWrapper", "masknet_numspks": n_src,
        "masknet_numlayers": n_layers, "encoder_out_nchannels": 64, "intra_numlayers": 2, "inter_numlayers": 2,
        "intra_dffn": 128, "inter_dffn": 128, "intra_nhead": 4, "inter_nhead": 4,
    }  # fmt: skip
    tfgridnet = {
        "_target_": "espnet2.enh.separator.tfgridnet_separator.TFGridNet", "input_dim": 0, "n_srcs": n_src,
        "n_fft": 128, "stride": 64, "n_layers": n_layers, "lstm_hidden_units": 32, "attn_n_head": 2,
        "attn_approx_qk_dim": 128, "emb_dim": 16, "emb_ks": 4, "emb_hs": 1,
    }  # fmt: skip
    makers: dict[str, Callable[[], Any]] = {
        SMALL: partial(conv_tasnet, n_src, n_filters=128, kernel_size=32, stride=16, n_blocks=6, n_repeats=n_layers,
                       bn_chan=64, hid_chan=128, skip_chan=64, mask_act="relu"),
        "convtasnet": partial(ConvTasNet, n_src, n_filters=128, n_blocks=4, n_repeats=n_layers, bn_chan=64,
                              hid_chan=128, skip_chan=64, mask_act="relu"),
        "dprnn": partial(DPRNNTasNet, n_src, n_repeats=n_layers, hid_size=64, bn_chan=64, kernel_size=16, stride=8),
        "dptnet": partial(DPTNet, n_src, n_repeats=n_layers, ff_hid=64, kernel_size=16, stride=8),
        "sudormrf": partial(SuDORMRFImprovedNet, n_src, num_blocks=n_layers),
        "sepformer": partial(hosted, sepformer, n_src=n_src, sample_rate=8000, outputs="time_sources"),
        "tfgridnet": partial(hosted, tfgridnet, n_src=n_src, sample_rate=8000, inputs="time_lengths",
                             outputs="list", output_key=0),
    }  # fmt: skip
    return makers[kind]()
