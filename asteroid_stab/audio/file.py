"""Headers and samples of audio files, with errors that name the path."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import soundfile as sf

from asteroid_stab.errors import StabError, some
from asteroid_stab.paths import check_text

# On a network disk, opening a file takes far more waiting than computing, so more threads than cores pay off.
_N_THREADS = 16
_WAV_HEADER = 44
RATES = (1_000, 768_000)
"""The lowest and the highest sample rate of a file, in Hz: beyond them a header is damaged, and its filter of another
rate would fill the memory."""
MOST_VALUES = 2**23
"""Samples of all channels that are decoded at once: a header may state any number of them."""
_MAX_FRAMES = 2**62  # libsndfile's mark of a length that the header leaves open
# libsndfile's remark on a chunk of audio (or a W64 or RF64 file) that ends before its stated length.
_CUT = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# A program that writes to a pipe cannot go back to state the length. What it states instead lies just below 2 or 4 GiB.
_OPEN_ENDS, _OPEN_MARGIN = (2**31, 2**32, 2**63, 2**64), 2**12 + 2**6


class Header(NamedTuple):
    """Samples per channel, sample rate in Hz, and number of channels that a file's header states."""

    n_frames: int
    sample_rate: int
    n_channels: int


def _flac_header(head: bytes) -> Header | None:
    """Reads the STREAMINFO block, which FLAC puts first; None if it leaves the length open."""
    if head[:4] != b"fLaC" or len(head) < 26:
        return None
    packed = int.from_bytes(head[18:26], "big")  # 20 bits rate, 3 channels - 1, 5 bits a sample - 1, 36 length
    n_frames = packed & ((1 << 36) - 1)
    return Header(n_frames, packed >> 44, (packed >> 41 & 7) + 1) if n_frames else None


def _wav_header(head: bytes, size: int) -> tuple[Header | None, str]:
    """Reads the 44 bytes that a plain PCM file starts with; None for any other arrangement of chunks.

    Returns:
        the header, and why the file cannot be used, empty if it can.
    """
    if head[:4] != b"RIFF" or head[8:20] != b"WAVEfmt \x10\0\0\0" or head[36:40] != b"data":
        return None, ""
    frame = int.from_bytes(head[32:34], "little")
    n_channels, rate = int.from_bytes(head[22:24], "little"), int.from_bytes(head[24:28], "little")
    bits = int.from_bytes(head[34:36], "little")
    if head[20:22] != b"\1\0" or not frame or 8 * frame != n_channels * bits:
        return None, ""
    stated, held = int.from_bytes(head[40:44], "little"), size - _WAV_HEADER
    return Header(min(stated, held) // frame, rate, n_channels), _cut(stated, held, frame)


def _cut(stated: int, held: int, frame: float) -> str:
    """Returns that a file was cut off, if it lacks a sample at least (``frame`` bytes) of a length that it states."""
    if stated - held < frame or any(0 <= end - stated <= _OPEN_MARGIN for end in _OPEN_ENDS):
        return ""
    return f"truncated: its header states {stated} bytes of audio, it holds {held}"


def _implausible(header: Header) -> str:
    """Returns why nobody recorded such a file; empty if somebody may have."""
    if header.n_frames >= _MAX_FRAMES:
        return "its header states no length"
    lowest, highest = RATES
    if not lowest <= header.sample_rate <= highest:
        return f"its header states {header.sample_rate} Hz, a sample rate must be from {lowest} to {highest} Hz"
    return ""


def fault(sound: sf.SoundFile | sf._SoundFileInfo) -> str:
    """Returns why a file that libsndfile has opened cannot be used, such as a copy that broke off; empty if it can.

    A length that a streaming program left open is no fault of a WAV file, which is taken as it is.
    """
    for stated, held in ((int(match[1]), int(match[2])) for match in _CUT.finditer(sound.extra_info)):
        if cut := _cut(stated, held, held / max(1, sound.frames)):
            return cut
    return _implausible(Header(sound.frames, sound.samplerate, sound.channels))


def read_header(path: str) -> Header:
    """Returns length, sample rate and channels of an audio file, without decoding it.

    FLAC and plain WAV, of which large corpora consist, are read here, eight times faster than by libsndfile;
    libsndfile reads everything else. A FLAC file that was cut off still states its full length: only decoding
    shows it.

    Args:
        path: an audio file of any kind that libsndfile reads.

    Raises:
        StabError: there is no such file, it is no audio or cut off, or its header states a length or rate that no
            recording has.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_WAV_HEADER)
            size = os.fstat(file.fileno()).st_size
        header, wrong = _wav_header(head, size)
        header = header or _flac_header(head)
        if header is None:
            info = sf.info(path)
            header, wrong = Header(info.frames, info.samplerate, info.channels), fault(info)
    except OSError as error:
        raise StabError(f"cannot open the audio file {path}: {error.strerror}") from error
    except sf.LibsndfileError as error:
        raise StabError(f"cannot read the audio file {path}: {error.error_string}") from error
    if wrong := wrong or _implausible(header):
        raise StabError(f"cannot use the audio file {path}: {wrong}")
    return header


def probe_headers(paths: Sequence[str]) -> list[Header | StabError | None]:
    """Returns the header of every path, in order: None for a file that is missing, the error of one that is damaged."""

    def one(path: str) -> Header | StabError | None:
        try:
            check_text(path, "a file of a corpus")
            return read_header(path) if os.path.isfile(path) else None
        except StabError as error:
            return error

    if len(paths) < 2 * _N_THREADS:
        return [one(path) for path in paths]
    with ThreadPoolExecutor(_N_THREADS) as pool:
        parts = [paths[start::_N_THREADS] for start in range(_N_THREADS)]
        read = list(pool.map(lambda part: [one(path) for path in part], parts))
    return [read[i % _N_THREADS][i // _N_THREADS] for i in range(len(paths))]


def read_headers(paths: Sequence[str]) -> list[Header | None]:
    """Returns the header of every path, in order; None for a file that is missing.

    Raises:
        StabError: files are there but damaged, or no audio; all are counted, and the first three are named.
    """
    found = probe_headers(paths)
    if errors := [header for header in found if isinstance(header, StabError)]:
        if len(errors) == 1:
            raise errors[0]
        raise StabError(f"{len(errors)} of {len(paths)} audio files cannot be used: {some(list(map(str, errors)))}")
    return [header for header in found if not isinstance(header, StabError)]


def check_header(path: str, header: Header, sample_rate: int, mono: bool) -> None:
    """Checks that a file can be used.

    Args:
        path: named in the error.
        header: header of the file.
        sample_rate: wanted, in Hz.
        mono: whether more than one channel is refused.

    Raises:
        StabError: wrong sample rate, more than one channel, or no samples.
    """
    if header.sample_rate != sample_rate:
        raise StabError(f"{path} must be sampled at {sample_rate} Hz, got {header.sample_rate} Hz")
    if mono and header.n_channels != 1:
        raise StabError(f"{path} must have 1 channel, got {header.n_channels}")
    if header.n_frames == 0:
        raise StabError(f"{path} must hold audio, got 0 samples")


def read_samples(path: str, start: int, stop: int) -> np.ndarray:
    """Reads the first channel of samples ``[start, stop)``, float32 ``[stop - start]``, as :func:`read_channels`."""
    return read_channels(path, start, stop, [0])[0]


def read_channels(path: str, start: int, stop: int, channels: Sequence[int]) -> np.ndarray:
    """Reads some channels of samples ``[start, stop)``, float32 ``[C, stop - start]``.

    Args:
        path: an audio file.
        start: first sample, at the file's own rate.
        stop: one past the last.
        channels: from 0, in the wanted order; the file must have them.

    Raises:
        StabError: the file cannot be decoded, or ends before ``stop``.
    """
    parts: list[np.ndarray] = []
    one = slice(channels[0], channels[0] + 1)  # of a file of one channel it is no copy
    n_left = stop - start
    try:
        with sf.SoundFile(path) as file:
            if start:
                file.seek(start)
            while n_left or not parts:
                block = file.read(min(n_left, MOST_VALUES // file.channels), dtype="float32", always_2d=True)
                parts.append(np.ascontiguousarray(block.T[one if len(channels) == 1 else list(channels)]))
                n_left -= len(block)
                if not len(block):
                    break
    except sf.LibsndfileError as error:
        reason = "No such file" if not os.path.isfile(path) else error.error_string
        raise StabError(f"cannot decode {path} (damaged or truncated): {reason}") from error
    if n_left:
        raise StabError(f"{path} is truncated: wanted samples {start} to {stop}, got {stop - start - n_left} of them")
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
