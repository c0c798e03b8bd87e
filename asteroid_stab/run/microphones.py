"""Microphones that a training took, for recordings that a trained model separates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asteroid_stab.audio.file import Header, probe_headers
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import MicChoice, check_mics


def chosen_microphones(config: Mapping[Any, Any] | None) -> MicChoice | None:
    """Returns the microphones that a run's config chooses; None where it takes all, or is absent or damaged there.

    Example:
        >>> chosen_microphones({"data": {"mics": [2, 0], "ref_mic": None}})
        MicChoice(mics=[2, 0], ref_mic=None)
        >>> chosen_microphones({"data": {"mics": None}}) is None
        True
    """
    data = None if config is None else config.get("data")
    chosen = {key: data.get(key) for key in MicChoice._fields} if isinstance(data, Mapping) else {}
    if not any(value is not None for value in chosen.values()):
        return None
    try:
        return check_mics(**chosen)
    except ValueError:  # the corpus itself says what is wrong
        return None


def channels_in(file: Path, heard: MicChoice | None) -> tuple[int, ...] | None:
    """Returns the channels of a recording that a model was trained with, the reference first.

    Args:
        file: the recording.
        heard: the microphones of the training; None: all.

    Returns:
        None where the file has not all of them, or cannot be read.
    """
    header = next(iter(probe_headers([str(file)])), None) if heard is not None else None
    if heard is None or not isinstance(header, Header):
        return None
    try:
        return heard.channels(header.n_channels)
    except StabError:
        return None
