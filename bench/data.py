"""``asteroid-stab bench data``: how fast training mixtures come: on the fly, packed, and from Asteroid."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asteroid_stab.data import LibriSpeechCorpus
    from asteroid_stab.data.corpora.librispeech import LibriSpeechMixtures

SUMMARY = "segments/s of FLAC on the fly, of the packed cache, and of Asteroid's LibriMix on wavs"


def _speak(root: Path) -> None:
    """A small stand-in for LibriSpeech: 8 speakers with 3 utterances of 12 to 16 s of shaped noise."""
    import numpy as np
    import soundfile as sf

    rng = np.random.default_rng(0)
    for speaker in range(8):
        for utterance in range(3):
            n_samples = int(rng.uniform(12, 16) * 16_000)
            loudness = np.repeat(rng.uniform(0.0, 0.2, n_samples // 1600 + 1), 1600)[:n_samples]
            path = root / "train-clean-100" / str(speaker) / "0" / f"{speaker}-0-{utterance:04d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, np.clip(loudness * rng.standard_normal(n_samples), -1, 1), 16_000)


def _generate(data: LibriSpeechCorpus, folder: Path) -> Path:
    """The whole training mixtures as LibriMix's wavs; returns the folder with their list alone."""
    import soundfile as sf

    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    mixtures = data.dataset("train", None)
    with open(metadata / "mixture_train-100_mix_clean.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [
            "mixture_ID",
            "mixture_path",
            *(f"source_{k + 1}_path" for k in range(data.n_src)),
            "length",
        ]
        writer.writerow(columns)
        for item, name in enumerate(mixtures.names):
            mixture, sources, _ = mixtures[item]
            paths = []
            for kind, signal in [("mix_clean", mixture), *((f"s{k + 1}", s) for k, s in enumerate(sources))]:
                path = folder / "train-100" / kind / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                sf.write(path, signal.numpy(), data.sample_rate)
                paths.append(str(path))
            writer.writerow([name, *paths, len(mixture)])
    return metadata


def segments_per_second(
    ways: dict[str, Callable[[int], object]], n_items: int, n_rounds: int = 30, budget_s: float = 1.5
) -> dict[str, float]:
    """What each way gives when nothing else disturbs it: the best of many rounds, the ways taking turns.

    Args:
        ways: reads an item, by name.
        n_items: items in a round.
        n_rounds: rounds at most.
        budget_s: a way that has taken this long takes part no more.
    """
    best, spent = dict.fromkeys(ways, float("inf")), dict.fromkeys(ways, 0.0)
    for _ in range(n_rounds):
        for name, read in ways.items():
            if spent[name] < budget_s:
                begin = time.perf_counter()
                for item in range(n_items):
                    read(item)
                seconds = time.perf_counter() - begin
                best[name], spent[name] = min(best[name], seconds), spent[name] + seconds
    return {name: n_items / seconds for name, seconds in best.items()}


def measure(
    root: Path, subset: str, n_mixtures: int, segment_s: float, sample_rate: int, n_src: int, scratch: Path
) -> dict[str, float]:
    """Segments/s of the three ways on the same mixtures, one process.

    Args:
        root: speech, laid out like LibriSpeech.
        subset: folder of it.
        n_mixtures: mixtures.
        segment_s: length of a crop, in seconds.
        sample_rate: in Hz.
        n_src: sources in a mixture.
        scratch: empty folder for the list, the packed copy and the wavs.

    Returns:
        In the order on the fly, packed cache, Asteroid.
    """
    from asteroid.data import LibriMix

    from asteroid_stab.data import LibriSpeechCorpus
    from asteroid_stab.data.lists.prepare import Plan, prepare_lists

    plan = Plan([subset], n_src, n_mixtures, reuse=True, min_seconds=max(3.0, segment_s))
    prepare_lists(plan, root, scratch)

    def data(cache: str | None) -> LibriSpeechCorpus:
        return LibriSpeechCorpus(
            root=str(root),
            list_root=str(scratch),
            train_list=f"{plan.stems[0]}.csv",
            sample_rate=sample_rate,
            n_src=n_src,
            cache=cache,
        )

    def each_epoch(mixtures: LibriSpeechMixtures) -> Callable[[int], object]:
        epochs = iter(range(10**9))
        return lambda item: mixtures[(next(epochs) // len(mixtures), item)]

    metadata = _generate(data(None), scratch / "wavs")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many mixtures are too short
        theirs = LibriMix(str(metadata), sample_rate=sample_rate, n_src=n_src, segment=segment_s)
    random.seed(0)
    decoded = data(None).dataset("train", segment_s)
    packed = data(str(scratch / "packed")).dataset("train", segment_s)
    ways = {
        "FLAC, decoded on the fly": each_epoch(decoded),
        "packed cache": each_epoch(packed),
        "Asteroid's LibriMix on wavs": theirs.__getitem__,
    }
    return segments_per_second(ways, len(theirs))


def main(argv: list[str]) -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="asteroid-stab bench data", description=SUMMARY)
    add = parser.add_argument
    add("--librispeech", metavar="ROOT", help="speech to mix; without it a small corpus of noise is made")
    add("--subset", default="train-clean-100", help="folder of it (train-clean-100)")
    add("--n-mixtures", type=int, default=100, metavar="N", help="mixtures (100)")
    add("--n-src", type=int, default=2, metavar="J", help="sources in a mixture (2)")
    add("--segment-s", type=float, default=3.0, metavar="S", help="length of a crop (3.0)")
    add("--sample-rate", type=int, default=8000, metavar="HZ", help="8000 or 16000 (8000)")
    args = parser.parse_args(argv)
    import torch
    from rich.console import Console
    from rich.table import Table

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(args.librispeech or Path(scratch, "LibriSpeech"))
        if args.librispeech is None:
            _speak(root)
        speeds = measure(
            root,
            args.subset,
            args.n_mixtures,
            args.segment_s,
            args.sample_rate,
            args.n_src,
            Path(scratch, "bench"),
        )
    asteroid = list(speeds.values())[-1]
    table = Table(
        title=f"{args.n_mixtures} mixtures of {args.n_src}, {args.segment_s:g} s at {args.sample_rate} Hz, one process"
    )
    for column in ("", "segments/s", "times Asteroid's"):
        table.add_column(column, justify="right" if column else "left")
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:.0f}", f"{speed / asteroid:.1f}")
    Console().print(table)
    return 0
