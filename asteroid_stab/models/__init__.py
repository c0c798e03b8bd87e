"""Separation models and their files."""

from asteroid_stab.models.conv_tasnet import conv_tasnet
from asteroid_stab.models.dual_path import dprnn_tasnet, dptnet
from asteroid_stab.models.fasnet_tac import MultiMicFasNetTAC
from asteroid_stab.models.files import build_model, load_model, save_model
from asteroid_stab.models.hosted import HostedModel, hosted
from asteroid_stab.models.layered import LayeredModel
from asteroid_stab.models.layered_hosted import LayeredHostedModel
from asteroid_stab.models.layering import layered_model
from asteroid_stab.models.multi_mic_conv_tasnet import MultiMicConvTasNet
from asteroid_stab.models.pretrained import load_pretrained
from asteroid_stab.models.refiner import LatentRefinementNet
from asteroid_stab.models.sudormrf import sudormrf

__all__ = [
    "HostedModel",
    "LatentRefinementNet",
    "LayeredHostedModel",
    "LayeredModel",
    "MultiMicConvTasNet",
    "MultiMicFasNetTAC",
    "build_model",
    "conv_tasnet",
    "dprnn_tasnet",
    "dptnet",
    "hosted",
    "layered_model",
    "load_model",
    "load_pretrained",
    "save_model",
    "sudormrf",
]
