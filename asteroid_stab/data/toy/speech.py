"""The toy corpus' utterances: spoken once by eSpeak NG, then kept in one file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

from asteroid_stab.atomic import making, replacing
from asteroid_stab.audio.integers import IntegerFile
from asteroid_stab.data.toy import espeak
from asteroid_stab.data.toy.sentences import sentence
from asteroid_stab.data.toy.synthesis import Request, espeak_files, synthesize
from asteroid_stab.data.toy.voices import Voice, cast
from asteroid_stab.errors import StabError

log = logging.getLogger(__name__)

RMS = 0.05  # of every utterance: loud enough for 16 bits, with 26 dB of room for peaks
_VOICES_PER_PROCESS = 8
_FRAME_S, _SILENCE_DB, _MARGIN_S = 0.01, -45.0, 0.04  # what is cut off at both ends
_ALIGNMENT = 64  # of the samples in the file, in bytes
# How a plan becomes samples: part of the digest, and so of the fingerprints that runs keep. The file holds the source
# code that did so first, which was hashed itself then. Samples that change need a file of another content.
_VERSION = "version_1.zlib"


class Utterance(NamedTuple):
    """A line of the file's index; offset and length in samples, peak as a fraction of full scale."""

    split: str
    speaker: str
    name: str
    text: str
    offset: int
    length: int
    peak: float


class ToySpeech:
    """The utterances of one split (see :class:`~asteroid_stab.data.utterances.Utterances`).

    Attributes:
        names, speakers, texts, lengths, peaks: of every utterance, parallel.
        digest: of everything that determines the samples.
    """

    def __init__(self, path: Path, start: int, utterances: list[Utterance], digest: str):
        self.path, self.digest = path, digest
        self.names = [utterance.name for utterance in utterances]
        self.speakers = [utterance.speaker for utterance in utterances]
        self.texts = [utterance.text for utterance in utterances]
        self.lengths = [utterance.length for utterance in utterances]
        self.peaks = [utterance.peak for utterance in utterances]
        self._offsets = [utterance.offset for utterance in utterances]
        self._samples = IntegerFile(path, start)

    def read(self, utterance: int, start: int, stop: int) -> np.ndarray:
        """Reads samples ``[stop - start]`` of an utterance, float32."""
        at = self._offsets[utterance]
        return self._samples.read(at + start, at + stop).astype(np.float32) / np.float32(32768)


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Returns ``cache_dir``, else ``ASTEROID_STAB_CACHE``, else ``asteroid-stab`` in the user's cache folder."""
    given = cache_dir or os.environ.get("ASTEROID_STAB_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asteroid-stab"


def toy_speech(
    seed: int, sample_rate: int, n_utterances: int, cache_dir: str | os.PathLike[str] | None = None
) -> dict[str, ToySpeech]:
    """Returns the utterances of train, valid and test, from the cache or made now (some seconds).

    The file's name holds a digest of all that determines it, and the file appears by a rename: any number of
    processes may ask at once; one makes it, and the others wait. A damaged file is made again, with a warning.

    Args:
        seed: of voices and sentences.
        sample_rate: in Hz.
        n_utterances: of every speaker.
        cache_dir: folder of the files; see :func:`cache_folder`.

    Raises:
        StabError: eSpeak NG is not installed, or the cache cannot be written.
    """
    espeak_files()  # its version is part of the digest
    plan = _plan(seed, n_utterances)
    digest = _digest(plan, sample_rate)
    path = cache_folder(cache_dir) / f"toy-{digest}.speech"
    with suppress(OSError, _DamagedError):
        return _open(path, digest)
    try:
        with making(path):
            there = _whole(path, digest)  # another process may have made it while this one waited
            if there is not None:
                return there
            log.info("making the toy corpus in %s", path)
            _write(path, plan, sample_rate)
    except OSError as error:
        raise StabError(
            f"the toy corpus cannot be written to {path} ({error}); "
            "name another folder with cache_dir or ASTEROID_STAB_CACHE"
        ) from error
    return _open(path, digest)


def _whole(path: Path, digest: str) -> dict[str, ToySpeech] | None:
    """The utterances of a file; None if it is damaged, with a warning, or not there."""
    try:
        return _open(path, digest)
    except _DamagedError as error:
        log.warning("making the toy corpus again: %s is damaged (%s)", path, error)
        return None
    except OSError:  # it is not there; any other fault of the place will show when it is written
        return None


Plan = list[tuple[str, Voice, str]]


def _plan(seed: int, n_utterances: int) -> Plan:
    """(split, voice, text) of every utterance, speaker by speaker."""
    speakers = [(split, voice) for split, voices in cast(seed).items() for voice in voices]
    return [
        (split, voice, sentence(np.random.default_rng((seed, 1, number, i))))
        for number, (split, voice) in enumerate(speakers)
        for i in range(n_utterances)
    ]


def _digest(plan: Plan, sample_rate: int) -> str:
    digest = hashlib.sha256(json.dumps([plan, sample_rate]).encode())
    digest.update("".join(importlib.metadata.version(name) for name in ("espeakng-loader", "scipy")).encode())
    digest.update(zlib.decompress(Path(__file__).with_name(_VERSION).read_bytes()))
    return digest.hexdigest()[:16]


def _speak(plan: Plan, sample_rate: int) -> Iterator[np.ndarray]:
    """int16 samples of every utterance of the plan."""
    requests = [
        Request(voice.espeak, voice.words_per_minute, voice.pitch, voice.pitch_range, text) for _, voice, text in plan
    ]
    per_process = _VOICES_PER_PROCESS * sum(voice == plan[0][1] for _, voice, _ in plan)
    batches = (requests[i : i + per_process] for i in range(0, len(requests), per_process))
    for (_, voice, _), said in zip(plan, synthesize(batches), strict=True):
        yield _finish(said, round(espeak.SAMPLE_RATE * voice.warp), sample_rate)


def _finish(said: np.ndarray, said_rate: int, sample_rate: int) -> np.ndarray:
    """Resamples, cuts the silence off at both ends, and brings the samples to the common level."""
    shorter = np.gcd(said_rate, sample_rate)
    audio = resample_poly(said.astype(np.float64), sample_rate // shorter, said_rate // shorter)
    frame = round(_FRAME_S * sample_rate)
    energy = np.square(audio[: len(audio) // frame * frame]).reshape(-1, frame).mean(1)
    loud = np.flatnonzero(energy > energy.max() * 10 ** (_SILENCE_DB / 10))
    margin = round(_MARGIN_S * sample_rate)
    audio = audio[max(0, loud[0] * frame - margin) : (loud[-1] + 1) * frame + margin]
    audio *= min(RMS / np.sqrt(np.mean(audio**2)), 0.99 / np.abs(audio).max())
    return np.round(audio * 32768).astype("<i2")


class _DamagedError(Exception):
    """The file differs from what was written."""


def _write(path: Path, plan: Plan, sample_rate: int) -> None:
    """Writes a line of JSON, padded, and the samples."""
    said = list(_speak(plan, sample_rate))
    index, offset, count = [], 0, dict.fromkeys((voice.name for _, voice, _ in plan), 0)
    for (split, voice, text), samples in zip(plan, said, strict=True):
        name = f"{voice.name}-{count[voice.name]}"
        count[voice.name] += 1
        peak = float(np.abs(samples.astype(int)).max() / 32768)
        index.append(Utterance(split, voice.name, name, text, offset, len(samples), peak))
        offset += len(samples)
    audio = np.concatenate(said).tobytes()
    header = json.dumps({"n_samples": offset, "crc32": zlib.crc32(audio), "utterances": index})
    padding = -(len(header.encode()) + 1) % _ALIGNMENT
    with replacing(path) as new:
        new.write_bytes(header.encode() + b" " * padding + b"\n" + audio)


def _open(path: Path, digest: str) -> dict[str, ToySpeech]:
    with path.open("rb") as file:
        line = file.readline()
        audio = file.read()
    try:
        header = json.loads(line)
        n_bytes, checksum = 2 * header["n_samples"], header["crc32"]
        utterances = [Utterance(*entry) for entry in header["utterances"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _DamagedError("no index") from error
    if len(audio) != n_bytes:
        raise _DamagedError(f"{len(audio)} bytes of audio, not {n_bytes}")
    if zlib.crc32(audio) != checksum:
        raise _DamagedError("wrong checksum")
    return {
        split: ToySpeech(path, len(line), [one for one in utterances if one.split == split], digest)
        for split in dict.fromkeys(one.split for one in utterances)
    }
