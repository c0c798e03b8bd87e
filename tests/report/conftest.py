"""Run folders with realistic numbers, as the verbs train and evaluate write them, made without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from asteroid_stab.metrics.names import FigureInfo

LEVELS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
RATE = 8000


def voice(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Something like a voice: gliding harmonics in syllables, [T]."""
    t = np.arange(int(RATE * seconds)) / RATE
    glide = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * t + rng.uniform(0, 6))
    pitch = rng.uniform(90, 220) * glide
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = rng.uniform((300, 900, 2200), (800, 1800, 3000))
    levels = [np.exp(-np.min(np.abs(n * pitch.mean() - formants)) / 350) for n in range(1, 25)]
    wave = sum(level * np.sin(n * phase) for n, level in enumerate(levels, start=1))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(1.5, 3.5) * t + rng.uniform(0, 6)) + 0.3, 0.01, 1)
    return 0.08 * wave * syllables / np.std(wave * syllables)


def write_training(path: Path, rng: np.random.Generator, n_epochs: int, n_layers: int, final: float) -> None:
    """metrics.csv and switches.csv of ``n_epochs`` epochs that end near ``final`` dB."""
    epoch = np.arange(n_epochs)
    quality = final * (1 - np.exp(-(epoch + 1) / 5)) + rng.normal(0, 0.12, n_epochs)
    table = pd.DataFrame({"epoch": epoch, "step": 125 * (epoch + 1)})
    table["train/loss"] = -quality - 0.4 + rng.normal(0, 0.05, n_epochs)
    table["val/loss"], table["val/si_sdr"], table["val/si_sdr_i"] = -quality, quality - 0.1, quality
    for column in ("train/silent_sources", "train/nonfinite_items", "train/skipped_steps"):
        table[column] = 0.0
    table["lr"], table["seconds"] = 2e-3, 9.5
    rows = []
    for layer in range(n_layers):
        ratio = 0.3 * np.exp(-epoch / (3 + layer)) + 0.01 * (n_layers - layer) + rng.uniform(0, 0.008, n_epochs)
        for e in epoch:
            n_switched = 0 if e == 0 else round(1000 * ratio[e])
            rows.append((e, layer, 1000, 0 if e == 0 else 1000, n_switched, n_switched / 1000 if e else np.nan))
    names = ["epoch", "layer", "n_seen", "n_compared", "n_switched", "switch_ratio"]
    switches = pd.DataFrame(rows, columns=names)
    last = switches[switches["layer"] == n_layers - 1]
    table["train/switch_ratio"] = last["switch_ratio"].to_numpy()
    table.to_csv(path / "metrics.csv", index=False)
    switches.to_csv(path / "switches.csv", index=False)


def write_evaluation(
    folder: Path,
    rng: np.random.Generator,
    n_items: int,
    n_src: int,
    mean: float,
    seconds: float,
    classes: tuple = (),
    iterations: int = 0,
    noisy: bool = False,
) -> None:
    """utterances.csv, summary.json and the examples of an evaluation around ``mean`` dB."""
    folder.mkdir(parents=True)
    before = np.random.default_rng(n_items).normal(-0.3, 1.4, n_items)  # all runs are on the same mixtures
    gain = rng.normal(mean, 2.2, n_items) - 0.5 * before - rng.exponential(1.5, n_items)
    table = pd.DataFrame({"id": np.arange(n_items), "name": [f"mix_{i:04d}" for i in range(n_items)]})
    table["n_samples"] = int(RATE * seconds)
    for metric, start, factor in (
        ("si_sdr", 0, 1),
        ("sdr", 0.2, 1),
        ("stoi", 0.7, 0.02),
        ("pesq", 1.4, 0.08),
    ):
        table[f"input_{metric}"] = start + factor * before
        table[metric] = start + factor * (before + gain)
        table[f"{metric}_i"] = table[metric] - table[f"input_{metric}"]
    table.loc[3, ["pesq", "pesq_i"]] = np.nan
    if noisy:
        table["input_snr"] = before + rng.uniform(3, 6, n_items)
    if iterations:  # a harder mixture takes more
        wanted = np.round(0.7 * iterations - 0.6 * before + rng.normal(0, 0.5, n_items))
        table["n_iterations"] = np.clip(wanted, 0, iterations).astype(int)
        table["n_sub_blocks"] = 2 * table["n_iterations"]
    table.to_csv(folder / "utterances.csv", index=False)
    metrics = {}
    for column in table.columns[3:]:
        values = table[column].dropna()
        percentiles = {f"p{level}": float(np.percentile(values, level)) for level in LEVELS}
        metrics[column] = {
            "n": len(values),
            "mean": float(values.mean()),
            "std": float(values.std(ddof=0)),
            **percentiles,
        }
    summary = {"split": "test", "n": n_items, "sample_rate": RATE, "model": "best_model.pth"}
    summary |= {"command": "asteroid-stab evaluate RUN", "metrics": metrics}
    summary |= {"failures": {"pesq": ["mix_0003"], "stoi": []}}
    summary |= {"classes": {name: {**metrics["si_sdr_i"], "n": n_items} for name in classes}} if classes else {}
    if iterations:
        shown = {"n_iterations": FigureInfo("iterations", meaning="passes of a block", most=iterations)}
        shown |= {"n_sub_blocks": FigureInfo("sub-blocks", most=2 * iterations, is_cost=True)}
        summary |= {"figures": {name: asdict(info) for name, info in shown.items()}}
    summary |= {"failure_reasons": {"pesq": {"mix_0003": "no utterances detected"}}}
    (folder / "summary.json").write_text(json.dumps(summary))
    order = np.argsort(gain)
    examples = []
    for kind, item in (("best", order[-1]), ("median", order[n_items // 2]), ("worst", order[0])):
        sources = [voice(rng, seconds) for _ in range(n_src)]
        mixture = np.sum(sources, axis=0)
        leak = 10 ** (-gain[item] / 20)
        sounds = {"mixture": mixture}
        for j, source in enumerate(sources, start=1):
            sounds[f"source_{j}"] = source
            sounds[f"estimate_{j}"] = source + leak * (mixture - source)
        (folder / "examples" / kind).mkdir(parents=True)
        for name, samples in sounds.items():
            sf.write(folder / "examples" / kind / f"{name}.wav", 0.2 * samples, RATE, subtype="PCM_16")
        examples.append({"kind": kind, "id": int(item), "name": f"mix_{item:04d}", "si_sdr_i": gain[item]})
    (folder / "examples" / "examples.json").write_text(json.dumps(examples))


def write_run(
    path: Path,
    seed: int = 0,
    n_epochs: int = 12,
    n_layers: int = 1,
    final: float = 7.7,
    n_items: int = 60,
    n_src: int = 2,
    seconds: float = 0.5,
    classes: tuple = (),
    iterations: int = 0,
    limits: tuple = (),
    noisy: bool = False,
) -> Path:
    """A whole run folder."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(f"""\
seed: {seed}
recipe: baseline/toy
data: {{_target_: asteroid_stab.data.ToyCorpus, n_src: {n_src}, sample_rate: 8000, batch_size: 8}}
model: {{_target_: asteroid.models.ConvTasNet, n_src: {n_src}, n_layers: {n_layers}}}
optim: {{_target_: torch.optim.Adam, lr: 0.002}}
""")
    versions = {
        "command": f"asteroid-stab train baseline/toy seed={seed}",
        "recipe": "baseline/toy",
        "date": "2026-11-20 14:03",
        "python": "3.11.2",
        "packages": {"asteroid-stab": "0.1.0", "asteroid": "0.7.0", "torch": "2.11.0", "numpy": "2.4.6"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        "device": "cpu",
        "machine": "Linux x86_64",
        "n_parameters": 312_450,
    }
    (path / "versions.json").write_text(json.dumps(versions))
    write_training(path, rng, n_epochs, n_layers, final)
    write_evaluation(
        path / "evaluation" / "test", rng, n_items, n_src, final - 0.4, seconds, classes, iterations, noisy
    )
    for n in limits:
        folder = path / "evaluation" / f"test_iterations{n}"
        write_evaluation(folder, rng, n_items, n_src, final - 1, seconds, classes, n, noisy)
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps({**summary, "variant": f"iterations{n}"}))
    return path


@pytest.fixture(scope="session")
def write_run_to() -> Callable[..., Path]:
    """The function that writes a whole run folder, for fixtures of several tests."""
    return write_run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that no test may change."""
    return write_run(tmp_path_factory.mktemp("runs") / "toy_convtasnet")


@pytest.fixture
def make_run(tmp_path: Path, whole_run: Path) -> Callable[..., Path]:
    """A function that makes a run folder of its own; without settings it is a copy of ``whole_run``."""

    def make(name: str = "toy_convtasnet", **settings: float) -> Path:
        path = tmp_path / name
        if settings:
            return write_run(path, **settings)  # type: ignore[arg-type]
        shutil.copytree(whole_run, path)
        return path

    return make
