"""The mixtures that an evaluation has measured so far, in a file: a line each, written as it is measured."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_stab.errors import StabError
from asteroid_stab.locks import given_back, lock_if_possible, unlock
from asteroid_stab.metrics.measured import Measured


class Journal:
    """The mixtures measured so far, by id; :func:`journal` opens it.

    Attributes:
        path: the file.
        measured: the metrics of each mixture.
        own: further figures of each mixture, which the metrics do not have.
    """

    def __init__(self, path: Path):
        self.path = path
        self.measured: dict[int, Measured] = {}
        self.own: dict[int, dict[str, float]] = {}
        self._whole = 0  # bytes of the file that are of this evaluation and complete

    def read(self, settings: Mapping[str, Any]) -> None:
        """Takes the lines of the file if they are of an evaluation with these settings, but no half line."""
        head, *lines = self.path.read_bytes().splitlines(keepends=True) or [b""]
        if _line(head) != json.loads(json.dumps(settings)):
            return
        self._whole = len(head)
        for line in lines:
            entry = _line(line)
            if entry is None:
                break
            sources = {name: np.array(values) for name, values in entry["measured"].pop("sources").items()}
            perm = np.array(entry["measured"].pop("perm"))
            self.measured[entry["id"]] = Measured(**entry["measured"], perm=perm, sources=sources)
            self.own[entry["id"]] = entry["own"]
            self._whole += len(line)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Cuts off what is of another evaluation, or only half written."""
        os.truncate(self.path, self._whole)
        if not self._whole:
            self._append(settings)

    def add(self, item: int, measured: Measured, own: Mapping[str, float]) -> None:
        """Writes a mixture.

        Raises:
            StabError: the file cannot be written.
        """
        self.measured[item], self.own[item] = measured, dict(own)
        try:
            self._append({"id": item, "measured": asdict(measured), "own": self.own[item]})
        except OSError as error:
            raise StabError(
                f"cannot write to {str(self.path)!r}: {error.strerror}; it keeps the mixtures measured before, and the "
                "same command goes on from there"
            ) from error

    def _append(self, entry: Mapping[str, Any]) -> None:
        with open(self.path, "ab", buffering=0) as file:
            file.write(json.dumps(entry, default=lambda value: value.tolist()).encode() + b"\n")


@contextmanager
def journal(path: Path, settings: Mapping[str, Any], advice: str) -> Iterator[Journal]:
    """Opens the file of an evaluation for this process alone; removes it if the block ends well, or measures nothing.

    Args:
        path: the file; its folder is made if needed.
        settings: all that the measurements depend on, in JSON's types; lines of other settings are not taken.
        advice: what the user can do while another process writes the same evaluation, for the message.

    Raises:
        StabError: another process writes it, or it cannot be written.
    """
    descriptor, new_folder = None, not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while descriptor is None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
            descriptor = _locked(path)
        kept = Journal(path)
        kept.read(settings)
        kept.begin(settings)
    except BlockingIOError as error:
        raise StabError(f"{path.parent} has an evaluation that another process is writing: {advice}") from error
    except OSError as error:
        if descriptor is not None:
            unlock(descriptor)
        raise StabError(f"cannot write to {str(path)!r}: {error.strerror}; {advice}") from error
    done = False
    try:
        yield kept
        done = True
    finally:
        with given_back(descriptor):
            if done or not kept.measured:
                path.unlink(missing_ok=True)
            if new_folder:
                with suppress(OSError):  # something is in it
                    path.parent.rmdir()


def _locked(path: Path) -> int | None:
    try:
        return lock_if_possible(path)
    except FileNotFoundError:  # another process has just ended its evaluation
        return None


def _line(line: bytes) -> Any:
    """The content of a line; None if it is not whole."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
