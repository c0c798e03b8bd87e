"""``asteroid-stab bench data``: how fast training mixtures are read: on the fly, packed, and by Asteroid."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.frame import Bench, Numbers, table
from bench.measure import least_times

if TYPE_CHECKING:
    from asteroid_stab.data import LibriSpeechCorpus
    from asteroid_stab.data.corpora.librispeech import LibriSpeechMixtures

ASTEROID = "Asteroid's LibriMix on wavs"


def write_speech(root: Path) -> None:
    """Writes a small substitute for LibriSpeech: 8 speakers with 3 utterances of 12 to 16 s of shaped noise."""
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
    """Writes whole training mixtures as LibriMix's wavs, and returns the folder that holds only their list."""
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


def ways_to_read(
    root: Path, subset: str, n_mixtures: int, segment_s: float, sample_rate: int, n_src: int, scratch: Path
) -> tuple[dict[str, Callable[[int], Any]], int]:
    """Three functions that read an item of the same mixtures, by name, and the number of items.

    Args:
        root: speech, laid out like LibriSpeech.
        subset: folder of it.
        n_mixtures: number of mixtures.
        segment_s: length of a crop, in seconds.
        sample_rate: in Hz.
        n_src: sources in a mixture.
        scratch: empty folder for the list, the packed copy and the wavs.

    Returns:
        The functions in the order on the fly, packed cache, Asteroid.
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
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the number of mixtures that are too short
        theirs = LibriMix(str(metadata), sample_rate=sample_rate, n_src=n_src, segment=segment_s)
    random.seed(0)
    decoded = data(None).dataset("train", segment_s)
    packed = data(str(scratch / "packed")).dataset("train", segment_s)
    ways = {
        "FLAC, decoded on the fly": each_epoch(decoded),
        "packed cache": each_epoch(packed),
        ASTEROID: theirs.__getitem__,
    }
    return ways, len(theirs)


def segments_per_second(
    ways: dict[str, Callable[[int], Any]], n_items: int, n_rounds: int, budget_s: float
) -> dict[str, float]:
    """Segments a second of each way in its fastest round; a round reads ``n_items`` items."""

    def read_all(read: Callable[[int], Any]) -> None:
        for item in range(n_items):
            read(item)

    calls = {name: partial(read_all, read) for name, read in ways.items()}
    return {name: n_items / least_s for name, least_s in least_times(calls, n_rounds, budget_s, "cpu").items()}


def measure(options: argparse.Namespace) -> Numbers:
    """Segments a second of the three ways, in one process."""
    with tempfile.TemporaryDirectory() as scratch:
        root = options.librispeech or Path(scratch, "LibriSpeech")
        if options.librispeech is None:
            write_speech(root)
        sizes = (options.n_mixtures, options.segment_s, options.sample_rate, options.n_src)
        ways, n_items = ways_to_read(root, options.subset, *sizes, Path(scratch, "bench"))
        return {"segments_per_second": segments_per_second(ways, n_items, options.rounds, options.budget_s)}


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table."""
    speeds = numbers["segments_per_second"]
    title = (
        f"{options.n_mixtures} mixtures of {options.n_src}, {options.segment_s:g} s at {options.sample_rate} Hz, "
        "one process"
    )
    cells = [[name, f"{speed:.0f}", f"{speed / speeds[ASTEROID]:.1f}"] for name, speed in speeds.items()]
    return [table(title, ["", "segments/s", "times Asteroid's"], cells, n_left=1)]


BENCH = Bench(
    name="data",
    summary="segments/s of FLAC on the fly, of the packed cache, and of Asteroid's LibriMix on wavs",
    measure=measure,
    show=show,
    shared={
        "n_src": 2, "segment_s": 3.0, "sample_rate": 8000, "n_mixtures": 100, "librispeech": None,
        "threads": 1, "rounds": 30, "budget_s": 5.0
    },
    options={"--subset": {"default": "train-clean-100", "help": "folder of the speech (train-clean-100)"}},
)  # fmt: skip
