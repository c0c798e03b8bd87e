"""Players for the sounds of an evaluation: mixture, estimates and references of three items."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import soundfile as sf

from asteroid_stab.audio.file import fault
from asteroid_stab.errors import StabError
from asteroid_stab.report.evaluation_data import Example
from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Item, Note, Part, Player, Players, Section, SectionMaker
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.spectrogram import PEAK, data_uri, spectrogram
from asteroid_stab.report.wording import number
from asteroid_stab.run.layout import RunLayout


def listening(run_mb: float, page_mb: float) -> SectionMaker:
    """Makes a section whose sounds take at most this much of the page.

    Args:
        run_mb: megabytes for each run.
        page_mb: megabytes for all runs together.
    """

    def section(runs: Sequence[Run]) -> Section | None:
        parts: list[Part] = []
        for run in runs:
            if run.evaluation is None:
                continue  # the overview has a note with the command
            if not run.evaluation.examples:
                place = RunLayout(run.path).evaluation(run.split).examples.folder
                text = f"{run.name}: the evaluation kept no sounds ({place.relative_to(run.path)})."
                parts.append(Note(text, f"{run.evaluate_command} --overwrite"))
                continue
            limit_s = _limit(run.evaluation.examples, min(run_mb, page_mb / len(runs)))
            items = [_item(example, limit_s) for example in run.evaluation.examples]
            title = run.name if len(runs) > 1 else ""
            parts.append(Players(title, run_key(run.index).colour, items))
        intro = (
            "The best, the median and the worst mixture by SI-SDRi. The sounds of an item share one gain; each "
            "estimate has the level of its reference. Spectrograms: frequency goes upwards, louder is brighter."
        )
        return Section("listening", "Listen", parts, intro) if parts else None

    return section


def _limit(examples: Sequence[Example], audio_mb: float) -> float:
    """The seconds of each sound that fit, with 16 bits for a sample and 4 characters of base64 for 3 bytes."""
    files = [path for example in examples for path in (example.mixture, *example.estimates, *example.sources)]
    rate = max(_info(path).samplerate for path in files)
    return audio_mb * 1e6 * 3 / 4 / (2 * rate * len(files))


def _info(path: Path) -> sf._SoundFileInfo:
    """The header of a sound of one channel; the folder that holds it may come from anybody."""
    if not path.is_file():  # a pipe would be waited for
        raise StabError(f"{path} must be a sound file, got none")
    try:
        info = sf.info(path)
    except sf.LibsndfileError as error:
        raise StabError(f"{path} must be a sound file, got {error}") from error
    if wrong := fault(info) or (f"it has {info.channels} channels" if info.channels != 1 else ""):
        raise StabError(f"{path} must be a sound of one channel: {wrong}")
    return info


def _read(path: Path, limit_s: float) -> tuple[np.ndarray, float]:
    """The first ``limit_s`` seconds, and the full length in seconds."""
    info = _info(path)
    try:
        samples, _ = sf.read(path, frames=min(info.frames, int(limit_s * info.samplerate)), dtype="float64")
    except sf.LibsndfileError as error:
        raise StabError(f"{path} is damaged: {error}") from error
    if not np.isfinite(samples).all():
        raise StabError(f"{path} is damaged: a sample is not finite")
    return samples, info.frames / info.samplerate


def _item(example: Example, limit_s: float) -> Item:
    mixture, whole_s = _read(example.mixture, limit_s)
    rate = _info(example.mixture).samplerate
    for path in (*example.sources, *example.estimates):
        if (other := _info(path).samplerate) != rate:
            raise StabError(f"{path} must have the {rate} Hz of {example.mixture.name}, got {other} Hz")
    sources = [_read(path, limit_s)[0] for path in example.sources]
    estimates = [_read(path, limit_s)[0] for path in example.estimates]
    peak = max(float(np.abs(sound).max(initial=0)) for sound in (mixture, *estimates, *sources))
    gain = PEAK / peak if peak > 0 else 1.0

    def player(title: str, samples: np.ndarray | None) -> Player | None:
        return None if samples is None else make_player(title, gain * samples, rate, example.name)

    pairs = [
        (player(f"Estimate {j}", estimate), player(f"Reference {j}", source))
        for j, (estimate, source) in enumerate(zip_longest(estimates, sources), start=1)
    ]
    shown_s = len(mixture) / rate
    cut = f"first {shown_s:.1f} s of {whole_s:.1f} s" if shown_s < whole_s - 0.05 else f"{whole_s:.1f} s"
    first = player("Mixture", mixture)
    assert first is not None
    value = number(float("nan") if example.si_sdr_i is None else example.si_sdr_i, 2, "dB SI-SDRi")
    return Item(f"{example.kind.capitalize()}: {value}", f"{example.name} · {cut}", first, pairs)


def make_player(title: str, samples: np.ndarray, rate: int, name: str) -> Player:
    """A player that holds its sound and its spectrogram.

    Args:
        title: name of the sound, such as ``Mixture``.
        samples: the sound, full range 1.
        rate: its sample rate, in Hz.
        name: name of the mixture that it belongs to.

    Shapes:
        samples: [T].
    """
    wav = io.BytesIO()
    sf.write(wav, samples, rate, format="WAV", subtype="PCM_16")
    alt = f"Spectrogram of {title.lower()} of {name}: 0 to {rate / 2000:g} kHz, {len(samples) / rate:.1f} s"
    return Player(
        title,
        data_uri("audio/wav", wav.getvalue()),
        data_uri("image/jpeg", spectrogram(samples, rate)),
        alt,
    )
