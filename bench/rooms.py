"""``asteroid-stab bench rooms``: how fast a training goes on mixtures in rooms, and on the same ones as they are."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.frame import Bench, Numbers, table
from bench.measure import least_times

DRY = "outside of rooms"
_N_ROOMS = 8
_GEOMETRY: dict[str, Any] = {"geometry": "sms_wsj"}
_BATCH_SIZE = 4


def corpora(n_mixtures: int, n_src: int, sample_rate: int, cache: Path) -> dict[str, Any]:
    """The embedded corpus by itself, and in rooms with one microphone and with four.

    Args:
        n_mixtures: mixtures to train on.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        cache: folder of the rooms.
    """
    from asteroid_stab.data import RoomsCorpus, ToyCorpus

    base = ToyCorpus(n_src, sample_rate, n_train=n_mixtures, n_valid=1, n_test=1, n_utterances=2)

    def in_rooms(mics: list[int]) -> RoomsCorpus:
        return RoomsCorpus(
            base,
            **_GEOMETRY,
            n_mics=4,
            n_positions=n_src,
            n_train_rooms=_N_ROOMS,
            low_snr_db=20.0,
            high_snr_db=30.0,
            mics=mics,
            cache_dir=str(cache),
        )

    return {DRY: base, "one microphone": in_rooms([0]), "four microphones": in_rooms([0, 1, 2, 3])}


def epochs(corpus: Any, segment_s: float, n_workers: int, train: bool) -> tuple[Callable[[], None], int]:
    """An epoch of a corpus, and its number of segments.

    Args:
        corpus: the corpus.
        segment_s: length of a segment, in seconds.
        n_workers: processes that load.
        train: train ConvTasNet (0.16 M) with plain PIT on the first microphone; False only loads.
    """
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.data import MixtureDataModule
    from asteroid_stab.losses import ExactPITLossWrapper
    from asteroid_stab.microphones import reference
    from asteroid_stab.models import conv_tasnet

    data = MixtureDataModule(corpus, segment_s, _BATCH_SIZE, n_workers)
    data.train_set = corpus.dataset("train", segment_s)  # there is nothing to validate
    loader = data.train_dataloader()
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"n_filters": 128, "kernel_size": 32, "stride": 16, "n_blocks": 5, "n_repeats": 1}
    model = conv_tasnet(corpus.n_src, **sizes, bn_chan=64, hid_chan=128, skip_chan=64)
    optimizer, loss = torch.optim.Adam(model.parameters()), ExactPITLossWrapper(pairwise_neg_sisdr)

    def epoch() -> None:
        for mixture, sources, _ in loader:
            if train:
                optimizer.zero_grad()
                loss(model(reference(mixture)), sources).backward()
                optimizer.step()

    return epoch, len(loader) * _BATCH_SIZE


def measure(options: argparse.Namespace) -> Numbers:
    """Segments a second that are loaded, and that are trained on, of each corpus."""
    with tempfile.TemporaryDirectory() as cache:
        given = corpora(options.n_mixtures, options.n_src, options.sample_rate, Path(cache))
        found: Numbers = {}
        for kind, train in (("loaded", False), ("trained", True)):
            made = {name: epochs(corpus, options.segment_s, options.workers, train) for name, corpus in given.items()}
            calls = {name: epoch for name, (epoch, _) in made.items()}
            least = least_times(calls, options.rounds, options.budget_s, "cpu")
            found[kind] = {name: made[name][1] / seconds for name, seconds in least.items()}
        return {"segments_per_second": found}


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table."""
    loaded, trained = (numbers["segments_per_second"][kind] for kind in ("loaded", "trained"))
    title = (
        f"{options.n_mixtures} mixtures of {options.n_src}, {options.segment_s:g} s at {options.sample_rate} Hz, "
        f"{options.workers} workers"
    )
    heads = ["", "loaded/s", "trained/s", "training to dry"]
    cells = [
        [name, f"{loaded[name]:.0f}", f"{speed:.1f}", f"{speed / trained[DRY]:.2f}"] for name, speed in trained.items()
    ]
    return [table(title, heads, cells, n_left=1)]


BENCH = Bench(
    name="rooms",
    summary="segments/s of a training on mixtures in rooms, and on the same ones as they are",
    measure=measure,
    show=show,
    shared={
        "n_src": 2, "segment_s": 1.5, "sample_rate": 8000, "n_mixtures": 64, "threads": 1, "rounds": 10,
        "budget_s": 60.0
    },
    options={"--workers": {"type": int, "default": 2, "help": "processes that load (2)"}},
    packages=("torch", "asteroid", "pyroomacoustics"),
)  # fmt: skip
