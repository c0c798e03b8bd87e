"""``asteroid-stab separate MODEL FILES...``: separates recordings of any length into one file for each speaker."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_stab.cli.arguments import (
    add_trust,
    add_variant,
    fetched,
    level_below_mixture,
    model_place,
    path,
    take_trust,
)
from asteroid_stab.errors import StabError, cause

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from asteroid_stab.microphones import MicChoice
    from asteroid_stab.separation.chunks import Forward, Layout

SUMMARY = "separates recordings of any length with a trained model"


def main(argv: list[str]) -> int:
    """Separates every file that it can; the others are named at the end, with exit status 2.

    Raises:
        StabError: the model or an option cannot be used, or a file could not be separated.
    """
    options = make_parser().parse_intermixed_args(argv)

    from asteroid_stab.microphones import n_mics_of
    from asteroid_stab.models.files import microphones_of, rate_of
    from asteroid_stab.run.microphones import chosen_microphones
    from asteroid_stab.run.variants import find_variant
    from asteroid_stab.separation.chunks import layout, model_forward
    from asteroid_stab.separation.device import to_device
    from asteroid_stab.trust import trusted_names, trusting

    take_trust(options.trust)
    options.model = fetched(options.model)
    config = _noted_training(options)
    variant = find_variant(options.model, options.variant)
    with trusting(trusted_names(options.config_dir)):
        model = to_device(variant.load(), options.device)
    sample_rate = int(rate_of(model))
    windows = layout(options.window_s, options.overlap_s, sample_rate)
    forward, n_mics = model_forward(model), n_mics_of(model)
    heard = microphones_of(model) or chosen_microphones(config)  # older model files name none
    if heard is not None and options.channel is None:
        given = " ".join(f"data.{key}={value}" for key, value in heard._asdict().items() if value is not None)
        print(
            f"note: this model was trained with {given} (counted from 0): these channels are taken of files that have "
            "them, and of others all in their order; --channel takes others (counted from 1)"
        )
    taken: dict[Path, Path] = {}
    reasons = [_attempt(name, options, forward, windows, sample_rate, n_mics, taken, heard) for name in options.files]
    lines = [f"{name}: {reason}" for name, reason in zip(options.files, reasons, strict=True) if reason]
    if len(options.files) > 1 and lines:
        lines = [f"{len(lines)} of {len(options.files)} files could not be separated", *lines]
    if lines:
        raise StabError("\n  ".join(lines))
    return 0


def _noted_training(options: argparse.Namespace) -> DictConfig | None:
    """Prints a note where a run folder shows that an option is missing or means nothing, and returns its config.

    ``--active-db`` may be missing, or judge levels that no loss has set.
    """
    from omegaconf import OmegaConf

    from asteroid_stab.run.folder import RunFolder
    from asteroid_stab.run.layout import RunLayout

    if not RunLayout(options.model).config.is_file():  # a model file alone
        return None
    try:
        config = RunFolder(options.model, options.config_dir).config
    except StabError:  # a damaged config: the model separates without it
        return None
    trained_db = OmegaConf.select(config, "system.active_db")
    if trained_db is None and options.active_db is not None:
        print(
            "note: this run was not trained with a varying number of sources (system=variable), so that the levels of "
            "its estimates, which --active-db judges, may mean nothing"
        )
    if trained_db is not None and options.active_db is None:
        print(
            "note: this run was trained with a varying number of sources: a file is written for every output, and the "
            f"residue in an inactive one is made as loud as a voice; --active-db {trained_db:g} leaves these out"
        )
    return config


def _attempt(
    name: Path,
    options: argparse.Namespace,
    forward: Forward,
    windows: Layout,
    sample_rate: int,
    n_mics: int | None,
    taken: dict[Path, Path],
    heard: MicChoice | None,
) -> str:
    """Separates a file; returns the reason if it cannot, else an empty string."""
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.audio.stream import AudioInput
    from asteroid_stab.run.microphones import channels_in
    from asteroid_stab.separation.files import separate_file

    folder = options.out or name.parent
    begin = time.perf_counter()
    try:
        with _claimed(name, folder):
            old = _check_place(name, folder, taken, options)
            channels = options.channel or channels_in(name, heard)
            with (
                AudioInput(name, sample_rate, channels, options.resample, n_mics) as audio,
                Progress(console=Console(stderr=True), transient=True) as progress,
            ):
                task = progress.add_task(name.name, total=audio.n_samples)
                advance = partial(progress.advance, task)
                paths = separate_file(forward, audio, folder, windows, advance, options.active_db)
                length_s = audio.n_samples / sample_rate
            for file in old:
                if file not in paths:  # of a speaker whom this model does not have, or not in this recording
                    file.unlink()
    except StabError as error:
        return str(error)
    except (OSError, MemoryError) as error:  # a name that the system refuses, ...
        return cause(error)
    took = time.perf_counter() - begin
    files = ", ".join(map(str, paths))
    if options.active_db is not None:
        count = f"{len(paths) or 'no'} speaker{'s' * (len(paths) != 1)} above {options.active_db:g} dB"
        files = f"{count}: {files}" if paths else count
    print(f"{name}: {length_s:.1f} s in {took:.1f} s -> {files}", flush=True)
    return ""


@contextmanager
def _claimed(name: Path, folder: Path) -> Iterator[None]:
    """Holds the estimates of ``name`` in ``folder`` for this process, so that no two mix theirs.

    Raises:
        StabError: another process writes them, or the folder cannot be written.
    """
    from asteroid_stab.atomic import making
    from asteroid_stab.separation.files import estimate_path

    with ExitStack() as stack:
        try:
            first = estimate_path(folder, name, 1)
            stack.enter_context(making(first, "wait for its end; --out DIR writes elsewhere"))
        except OSError as error:
            raise StabError(f"cannot write the estimates to {str(folder)!r}: {cause(error)}") from error
        yield


def _check_place(name: Path, folder: Path, taken: dict[Path, Path], options: argparse.Namespace) -> list[Path]:
    """Checks that the estimates of ``name`` may be written to ``folder``; returns the ones that they replace."""
    from asteroid_stab.separation.files import estimate_path, find_estimates

    first = estimate_path(folder.resolve(), name, 1)
    if first in taken:
        raise StabError(f"its estimates would replace the estimates of {taken[first]}")
    taken[first] = name
    there = find_estimates(folder, name)
    inputs = {file.resolve() for file in (options.model, *options.files)}
    if read := [file for file in there if file.resolve() in inputs]:
        raise StabError(
            f"its estimates would replace {read[0]}, which is an input too: --out DIR writes them elsewhere"
        )
    if there and not options.overwrite:
        raise StabError(f"{there[0]} exists; --overwrite replaces it")
    return there


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab separate",
        description="Separates each FILE into FILE_est1.wav, FILE_est2.wav, ... (32-bit float, at the model's "
        "sample rate), with each speaker in one file from beginning to end. A recording longer than a window is "
        "separated window by window; the memory needed does not grow with its length.",
    )
    parser.add_argument(
        "model", type=model_place, metavar="MODEL", help="run folder, model file (.pth), or hf://user/name[@revision]"
    )
    parser.add_argument("files", type=path, nargs="+", metavar="FILE", help="recording: WAV, FLAC, OGG, MP3, ...")
    parser.add_argument("--out", type=path, metavar="DIR", help="output folder (default: the folder of each file)")
    parser.add_argument("--window-s", type=float, default=10.0, help="length of a window in seconds (%(default)s)")
    parser.add_argument("--overlap-s", type=float, default=2.5, help="overlap of two windows in seconds (%(default)s)")
    parser.add_argument(
        "--active-db",
        type=level_below_mixture,
        metavar="DB",
        help="write only estimates whose level over the whole recording is above DB relative to the mixture, such as "
        "-20, as evaluate counts them; for a model that was trained with a varying number of sources (system=variable)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (%(default)s)")
    add_variant(parser)
    add_trust(parser)
    parser.add_argument("--resample", action="store_true", help="resample files that have another sample rate")
    parser.add_argument(
        "--channel",
        type=_channels,
        metavar="N[,N...]|mix",
        help="the channel to use, from 1, or the mean of all; of a model for several microphones the channels in the "
        "order that it was trained with, the reference microphone first (default: the ones that it was trained with, "
        "else all)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing estimates")
    return parser


def _channels(text: str) -> tuple[int, ...] | str:
    """Parses channels, which the user counts from 1 and the program from 0, or ``mix``."""
    if text == "mix":
        return text
    numbers = text.split(",")
    if not all(number.isdecimal() and int(number) >= 1 for number in numbers) or len({*numbers}) < len(numbers):
        raise argparse.ArgumentTypeError(f"must be a channel from 1, several different ones, or mix, got {text!r}")
    return tuple(int(number) - 1 for number in numbers)
