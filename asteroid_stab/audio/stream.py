"""One channel or several of an audio file of any length, block by block, at the wanted rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile as sf

from asteroid_stab.audio.file import MOST_VALUES, fault
from asteroid_stab.audio.resampling import resample_blocks, resampled_length
from asteroid_stab.errors import StabError

BLOCK_S = 10.0


class AudioInput:
    """An audio file, opened; use it in a ``with`` statement.

    Args:
        path: any format of libsndfile.
        sample_rate: wanted, in Hz.
        channels: the channels to take, from 0, in the wanted order; ``"mix"`` takes their mean; None wants a file of
            ``n_mics`` channels.
        resample: whether a file of another rate is resampled, with the filter of
            ``scipy.signal.resample_poly``.
        n_mics: number of channels that are wanted; None: any number.

    Attributes:
        n_samples: length at ``sample_rate``.

    Raises:
        StabError: the file is missing, no audio, empty or cut off; has another rate (unless ``resample``); has no
            such channel; or another number of channels is wanted than it has, or than ``channels`` names.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: Sequence[int] | str | None = None,
        resample: bool = False,
        n_mics: int | None = 1,
    ):
        self.path, self.sample_rate, self.channels, self.n_mics = Path(path), sample_rate, channels, n_mics
        if not self.path.is_file():
            raise StabError("no such file" if not self.path.exists() else "a folder, not an audio file")
        try:
            self.file = sf.SoundFile(self.path)
        except sf.LibsndfileError as error:
            raise StabError(f"no readable audio: {error.error_string}") from error
        try:
            self._check(resample)
        except StabError:
            self.file.close()
            raise
        self.n_samples = resampled_length(self.file.frames, sample_rate, self.file.samplerate)

    def _check(self, resample: bool) -> None:
        file = self.file
        if wrong := fault(file):
            raise StabError(wrong)
        if file.frames <= 0:
            raise StabError("it holds no samples")
        if file.samplerate != self.sample_rate and not resample:
            raise StabError(
                f"the model works at {self.sample_rate} Hz, the file is sampled at {file.samplerate} Hz "
                "(--resample converts it)"
            )
        if self.channels is None and self.n_mics not in (None, file.channels):
            raise StabError(f"it has {_counted(file.channels)}: {self._mend(file.channels)}")
        if isinstance(self.channels, str) or self.channels is None:
            given = 1 if self.channels else file.channels
        else:
            given = len(self.channels)
            if (highest := max(self.channels)) >= file.channels:
                raise StabError(f"--channel must be at most {file.channels}, got {highest + 1}")
        if self.n_mics not in (None, given):
            words = self.channels if isinstance(self.channels, str) else f"of {given} channels"
            raise StabError(f"--channel {words} does not fit the model, which takes {_counted(self.n_mics)}")

    def _mend(self, n_channels: int) -> str:
        if self.n_mics == 1:
            return "--channel 1 (or 2, ...) takes one, mix their mean"
        if n_channels < (self.n_mics or 0):
            return f"the model takes {self.n_mics}"
        first = ",".join(str(i + 1) for i in range(self.n_mics or 0))
        return f"the model takes {self.n_mics}: --channel {first} takes the first ones, the reference microphone first"

    def __enter__(self) -> AudioInput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the samples, float32, ``[N]`` of one channel and ``[C, N]`` of several; may be called once.

        Raises:
            StabError: decoding fails, the file ends before its header's length, or a sample is not finite.
        """
        if self.file.samplerate == self.sample_rate:
            return self._read()
        return resample_blocks(self._read(), self.file.frames, self.sample_rate, self.file.samplerate)

    def _read(self) -> Iterator[np.ndarray]:
        n_read, rate = 0, self.file.samplerate
        n_frames = min(round(BLOCK_S * rate), MOST_VALUES // self.file.channels)
        while n_read < self.file.frames:
            try:
                block = self.file.read(n_frames, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                raise StabError(f"damaged after {n_read / rate:.2f} s: {error.error_string}") from error
            if len(block) == 0:
                raise StabError(f"truncated: its header states {self.file.frames} samples, it holds {n_read}")
            chosen = range(block.shape[1]) if self.channels is None else self.channels
            samples = block.mean(axis=1) if isinstance(chosen, str) else block[:, list(chosen)].T
            samples = samples[0] if samples.ndim == 2 and len(samples) == 1 else samples
            if not np.isfinite(samples).all():
                where = n_read + int(np.argmin(np.isfinite(samples).reshape(-1, len(block)).all(0)))
                raise StabError(f"a sample at {where / rate:.2f} s is not finite")
            n_read += len(block)
            yield np.ascontiguousarray(samples)


def _counted(n_channels: int | None) -> str:
    return f"{n_channels} channel{'s' * (n_channels != 1)}"
