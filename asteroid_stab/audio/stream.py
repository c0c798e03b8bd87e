"""One channel of an audio file of any length, block by block, at the wanted rate."""

from __future__ import annotations

from collections.abc import Iterator
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
        channel: the channel to take, from 0; ``"mix"`` takes their mean; None wants a file of one channel.
        resample: whether a file of another rate is resampled, with the filter of
            ``scipy.signal.resample_poly``.

    Attributes:
        n_samples: length at ``sample_rate``.

    Raises:
        StabError: the file is missing, no audio, empty or cut off; has another rate (unless ``resample``); has no
            such channel; or has several channels, of which ``channel`` names none.
    """

    def __init__(self, path: str | Path, sample_rate: int, channel: int | str | None = None, resample: bool = False):
        self.path, self.sample_rate, self.channel = Path(path), sample_rate, channel
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
        if self.channel is None and file.channels > 1:
            raise StabError(f"it has {file.channels} channels: --channel 1 (or 2, ...) takes one, mix their mean")
        if isinstance(self.channel, int) and self.channel >= file.channels:
            raise StabError(f"--channel must be at most {file.channels}, got {self.channel + 1}")

    def __enter__(self) -> AudioInput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the samples, float32; may be called once.

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
            samples = block.mean(axis=1) if self.channel == "mix" else block[:, int(self.channel or 0)]
            if not np.isfinite(samples).all():
                where = n_read + int(np.argmin(np.isfinite(samples)))
                raise StabError(f"a sample at {where / rate:.2f} s is not finite")
            n_read += len(block)
            yield np.ascontiguousarray(samples)
