"""Separation models and their files."""

from asteroid_stab.models.conv_tasnet import conv_tasnet
from asteroid_stab.models.files import build_model, load_model, save_model

__all__ = ["build_model", "conv_tasnet", "load_model", "save_model"]
