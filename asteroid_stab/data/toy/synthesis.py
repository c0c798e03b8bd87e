"""Spoken sentences from eSpeak NG, independent of what this process spoke before."""

from __future__ import annotations

import importlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asteroid_stab.cores import available_cores
from asteroid_stab.data.toy import espeak
from asteroid_stab.errors import StabError


class Request(NamedTuple):
    """A sentence and the voice that speaks it.

    Attributes:
        voice: eSpeak NG's name for it: a language, or a language and a variant (``en-us+f2``).
        words_per_minute: 80 to 450.
        pitch: 0 to 99; 50 is the voice's own.
        pitch_range: 0 to 99; 50 is the voice's own, 0 monotone.
        text: the sentence.
    """

    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    text: str


def espeak_files() -> tuple[str, str]:
    """Returns library and data folder of eSpeak NG, as the package ``espeakng-loader`` brings them.

    Raises:
        StabError: the package is not installed.
    """
    try:
        loader = importlib.import_module("espeakng_loader")
    except ModuleNotFoundError as error:
        raise StabError(
            "the toy corpus is spoken by eSpeak NG, which is not installed: pip install 'asteroid-stab[toy]'"
        ) from error
    return loader.get_library_path(), loader.get_data_path()


def synthesize(batches: Iterable[list[Request]]) -> Iterator[np.ndarray]:
    """Yields the samples of every request, int16 at 22,050 Hz, batch after batch.

    One fresh process speaks a batch, so its samples depend on that batch alone. There are as many processes at once as
    this process may use cores.

    Raises:
        StabError: eSpeak NG is not installed.
        RuntimeError: it does not know a voice, or fails.
    """
    files = espeak_files()
    with ThreadPoolExecutor(available_cores()) as pool:
        yield from chain.from_iterable(pool.map(lambda batch: _say(files, batch), batches))


def _say(files: tuple[str, str], batch: list[Request]) -> list[np.ndarray]:
    # -I: neither the current folder nor PYTHONPATH may put another json.py before the child's own
    done = subprocess.run(
        [sys.executable, "-I", str(Path(espeak.__file__)), *files],
        input=json.dumps(batch).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"eSpeak NG failed: {done.stderr.decode(errors='replace').strip()}")
    said, at = [], 0
    while at < len(done.stdout):
        (n_samples,) = struct.unpack_from("<I", done.stdout, at)
        said.append(np.frombuffer(done.stdout, "<i2", n_samples, at + 4))
        at += 4 + 2 * n_samples
    return said
