"""A trained model that separates whole recordings into files for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf
from omegaconf import DictConfig, OmegaConf
from scipy.optimize import linear_sum_assignment

from asteroid_stab.audio.stream import AudioInput
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import check_single
from asteroid_stab.models.files import microphones_of, rate_of
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.microphones import channels_in, chosen_microphones
from asteroid_stab.run.variants import find_variant
from asteroid_stab.separation.chunks import layout, model_forward
from asteroid_stab.separation.device import to_device
from asteroid_stab.separation.files import separate_file
from asteroid_stab.trust import trusted_names, trusting

SHORTEST_S = 0.1
"""Seconds that a recording must have: a model needs some frames, and nobody hears a speaker in less."""

TRAINED = "trained"
"""The channel that a model was trained with, of recordings that have it; of others the mean of all."""

_BLOCK = 2**19


@dataclass(frozen=True)
class Separation:
    """A recording and its estimates.

    Attributes:
        mixture: the recording as the model heard it: one channel, at the model's rate.
        estimates: a file for each speaker.
        length_s: length of the recording.
        sample_rate: of all files, in Hz.
        note: what was done to the recording before, and which estimates were left out; empty where there is nothing.
    """

    mixture: Path
    estimates: list[Path]
    length_s: float
    sample_rate: int
    note: str = ""


class Separator:
    """A trained model, ready to separate recordings of any length.

    Args:
        source: run folder or model file.
        device: where the model runs: cpu, cuda, ...
        window_s: length of a window in seconds.
        overlap_s: overlap of two windows in seconds.
        config_dir: a folder of the user's own recipes, whose classes are trusted.

    Attributes:
        source: run folder or model file.
        sample_rate: in Hz.
        kind: name of the model's class.
        n_parameters: number of the model's weights.
        heard: the microphones that the model was trained with, of files with more; None: all, or not known.
        active_db: the level in dB relative to the mixture above which an estimate is a speaker, where the run was
            trained with a varying number of sources; else None.

    Raises:
        StabError: the model, the device or the windows cannot be used, or the model takes several microphones.
    """

    def __init__(
        self,
        source: Path,
        device: str = "cpu",
        window_s: float = 10.0,
        overlap_s: float = 2.5,
        config_dir: str | None = None,
    ):
        variant = find_variant(source, None)
        with trusting(trusted_names(config_dir)):
            model = to_device(variant.load(), device)
        check_single(model, "the demo")
        self.source, self.kind = source, type(model).__name__
        self.sample_rate = int(rate_of(model))
        self.n_parameters = sum(weight.numel() for weight in model.parameters())
        config = _trained_config(source, config_dir)
        self.active_db = None if config is None else OmegaConf.select(config, "system.active_db")
        self.heard = microphones_of(model) or chosen_microphones(config)  # older model files name none
        self._windows = layout(window_s, overlap_s, self.sample_rate)
        self._forward = model_forward(model)

    def separate(
        self,
        recording: Path,
        channel: int | str,
        folder: Path,
        advance: Callable[[float], object] = lambda share: None,
    ) -> Separation:
        """Separates a recording into files of a folder.

        Args:
            recording: any format of libsndfile, at any rate.
            channel: the channel to take, from 0; ``"mix"`` takes the mean of all, :data:`TRAINED` the training's.
            folder: an empty folder.
            advance: called with the share that is done, from 0 to 1; what it raises ends the separation.

        Raises:
            StabError: the recording is no audio, damaged, too short or without such a channel, or the model cannot
                separate it.
        """
        with AudioInput(recording, self.sample_rate, "mix", resample=True) as audio:
            n_channels, rate = audio.file.channels, audio.file.samplerate
            n_samples = audio.n_samples
        if channel == TRAINED:  # of several microphones the reference
            trained = channels_in(recording, self.heard)
            channel = trained[0] if trained else "mix"
        if n_samples < SHORTEST_S * self.sample_rate:
            raise StabError(
                f"it is {n_samples / self.sample_rate:.3f} s long; a recording must have {SHORTEST_S} s at least"
            )
        if isinstance(channel, int) and channel >= n_channels:
            has = "one channel" if n_channels == 1 else f"{n_channels} channels"
            raise StabError(f"it has {has}, so that there is no channel {channel + 1}")
        mixture, done = folder / f"{recording.stem}_mixture.wav", 0
        channels = channel if isinstance(channel, str) else [channel]

        def count(n_more: int) -> None:
            nonlocal done
            done += n_more
            advance(done / n_samples)

        with (
            AudioInput(recording, self.sample_rate, channels, resample=True) as audio,
            sf.SoundFile(mixture, "w", self.sample_rate, 1, "FLOAT", format="WAV") as copy,
        ):
            for block in audio.blocks():
                copy.write(block)
        with AudioInput(recording, self.sample_rate, channels, resample=True) as audio:
            estimates = separate_file(self._forward, audio, folder, self._windows, count, self.active_db)
        notes = []
        if n_channels > 1:
            notes.append(f"mean of {n_channels} channels" if channel == "mix" else f"channel {int(channel) + 1}")
        if rate != self.sample_rate:
            notes.append(f"resampled from {rate:,} Hz")
        if self.active_db is not None:
            levels = "estimate" if len(estimates) == 1 else "estimates"
            notes.append(f"{len(estimates) or 'no'} {levels} above {self.active_db:g} dB")
        return Separation(mixture, estimates, n_samples / self.sample_rate, self.sample_rate, ", ".join(notes))


def aligned(first: Separation, second: Separation) -> Separation:
    """The second separation with its speakers in the order of the first, by the greatest sum of inner products.

    Returns it as it is where the two have different rates or numbers of estimates.
    """
    if first.sample_rate != second.sample_rate or len(first.estimates) != len(second.estimates) or not first.estimates:
        return second
    n_src = len(first.estimates)
    likeness = np.zeros((n_src, n_src))
    for left, right in zip(_together(first.estimates), _together(second.estimates), strict=True):
        likeness += left @ right.T
    order = linear_sum_assignment(likeness, maximize=True)[1]
    return replace(second, estimates=[second.estimates[j] for j in order])


def _together(files: list[Path]) -> Iterator[np.ndarray]:
    """The samples of some files of one length, block by block, [J, N]."""
    blocks = (sf.blocks(file, blocksize=_BLOCK, dtype="float64") for file in files)
    yield from (np.stack(block) for block in zip(*blocks, strict=True))


def _trained_config(source: Path, config_dir: str | None) -> DictConfig | None:
    if not RunLayout(source).config.is_file():  # a model file alone
        return None
    try:
        return RunFolder(source, config_dir).config
    except StabError:  # a damaged config: the model separates without it
        return None
