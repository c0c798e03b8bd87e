"""Speech to measure with: synthetic, or mixed from a folder of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asteroid_stab.errors import StabError


def speech_like(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Voiced syllables with pauses: a pulse train of gliding pitch through three resonances.

    Example:
        >>> speech_like(np.random.default_rng(0), 8000, 8000).shape
        (8000,)
    """
    from scipy.signal import lfilter

    n_syllables = n_samples * 4 // sample_rate + 2
    pitch_hz = rng.uniform(80, 220) * 2 ** np.interp(
        np.linspace(0, n_syllables, n_samples), range(n_syllables + 1), rng.uniform(-0.3, 0.3, n_syllables + 1)
    )
    phase = np.cumsum(pitch_hz) / sample_rate
    signal = np.diff(np.floor(phase), prepend=0.0) + 0.02 * rng.standard_normal(n_samples)
    for centre in (rng.uniform(400, 800), rng.uniform(1000, 1800), rng.uniform(2200, 3200)):
        radius = np.exp(-np.pi * 100 / sample_rate)
        signal = lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * centre / sample_rate), radius**2], signal)
    levels = rng.uniform(0.2, 1.0, n_syllables + 1) * (rng.uniform(size=n_syllables + 1) > 0.2)
    envelope = np.interp(np.linspace(0, n_syllables, n_samples), range(n_syllables + 1), levels)
    return 0.1 * signal * envelope / signal.std()


def synthetic_sources(n_mixtures: int, n_src: int, sample_rate: int) -> list[np.ndarray]:
    """Sources [J, T] of every mixture, 3 to 8 s long."""
    lengths = np.random.default_rng(0).uniform(3, 8, n_mixtures)
    return [
        np.stack(
            [speech_like(np.random.default_rng((i, j)), round(length * sample_rate), sample_rate) for j in range(n_src)]
        )
        for i, length in enumerate(lengths)
    ]


def spoken_sources(folder: Path, n_mixtures: int, n_src: int, sample_rate: int) -> list[np.ndarray]:
    """Sources [J, T] of every mixture: utterances of different speakers, as long as the shortest.

    Args:
        folder: a part of LibriSpeech, speaker/chapter/utterance.flac.
        n_mixtures: how many mixtures.
        n_src: sources in each.
        sample_rate: in Hz.

    Raises:
        StabError: the folder has fewer speakers than a mixture needs.
    """
    import soundfile as sf
    from scipy.signal import resample_poly

    spoken: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("**/*.flac")):
        spoken.setdefault(path.parent.parent.name, []).append(path)
    if len(spoken) < n_src:
        raise StabError(f"{folder} must hold FLAC files of {n_src} speakers, got {len(spoken)}")
    rng = np.random.default_rng(0)
    mixtures = []
    for _ in range(n_mixtures):
        speakers = rng.choice(sorted(spoken), n_src, replace=False)
        signals = []
        for speaker in speakers:
            signal, rate = sf.read(spoken[speaker][rng.integers(len(spoken[speaker]))])
            signals.append(resample_poly(signal, sample_rate, rate) if rate != sample_rate else signal)
        shortest = min(map(len, signals))
        mixtures.append(np.stack([0.05 * x[:shortest] / x[:shortest].std() for x in signals]))
    return mixtures
