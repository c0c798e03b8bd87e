"""A small corpus in the layout of LibriSpeech and one of noise, made of random signals."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf


def speak(path: Path, n_samples: int, seed: int, scale: float = 1.0, **options) -> Path:
    """Writes noise whose loudness changes every tenth of a second, as speech does."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.01, 0.1, n_samples // 1600 + 1), 1600)[:n_samples]
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = np.clip(scale * loudness * rng.standard_normal(n_samples), -1, 1)
    sf.write(path, signal, options.pop("rate", 16_000), **options)
    return path


@pytest.fixture(scope="session")
def make_speech():
    """Makes ``root/subset/speaker/chapter/speaker-chapter-000u.flac``, 0.8 to 1.4 s each."""

    def make(root: Path, n_speakers=6, n_utterances=3, subset="train-clean-100", suffix="flac") -> Path:
        rng = np.random.default_rng(n_speakers)
        for speaker in range(100, 100 + n_speakers):
            for utterance in range(n_utterances):
                name = f"{subset}/{speaker}/7/{speaker}-7-{utterance:04d}.{suffix}"
                speak(root / name, int(rng.integers(12_800, 22_400)), seed=10 * speaker + utterance)
        return root

    return make


@pytest.fixture(scope="session")
def speech(make_speech, tmp_path_factory) -> Path:
    """Six speakers with three utterances each, in train-clean-100. Not to be changed."""
    return make_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def noise(tmp_path_factory) -> Path:
    """Noises of two channels in tt: one shorter than two cross-fades, one a little longer, one longer than speech."""
    root = tmp_path_factory.mktemp("noise")
    (root / "tt").mkdir()
    rng = np.random.default_rng(5)
    for i, n_samples in enumerate((9_000, 17_000, 40_000)):
        sf.write(root / "tt" / f"n{i}.wav", 0.1 * rng.standard_normal((n_samples, 2)), 16_000)
    return root


@pytest.fixture
def write_list():
    """Writes a mixture list of the corpora above; returns its path."""

    def write(path: Path, n_src=2, n_mixtures=4, noise=True, gains=(0.3, 1.2), seed=0) -> Path:
        rng = np.random.default_rng(seed)
        columns = [f"source_{k + 1}_{what}" for k in range(n_src) for what in ("path", "gain")]
        lines = [",".join(["mixture_ID", *columns, *(["noise_path", "noise_gain"] if noise else [])])]
        for i in range(n_mixtures):
            cells = [f"mix-{i}"]
            for speaker in rng.choice(6, n_src, replace=False) + 100:
                name = f"train-clean-100/{speaker}/7/{speaker}-7-{rng.integers(3):04d}.flac"
                cells += [name, f"{rng.uniform(*gains):.6f}"]
            cells += [f"tt/n{i % 3}.wav", f"{rng.uniform(0.2, 0.8):.6f}"] if noise else []
            lines.append(",".join(cells))
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
