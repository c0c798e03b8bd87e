"""A check of the files of mixtures: they are there, and fit each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from asteroid_stab.audio.file import Header, probe_headers
from asteroid_stab.errors import StabError, some


def check_files(
    paths: Mapping[str, Sequence[str]],
    sample_rate: int,
    folder: Path,
    first: str = "mixture",
    channels: Mapping[str, Sequence[int]] | None = None,
    known: bool = False,
) -> list[int]:
    """Checks that the files of mixtures are there and fit each other; returns the mixtures' lengths.

    Args:
        paths: the files of each role, one for each mixture; the first role gives the lengths.
        sample_rate: of the files, in Hz.
        folder: that holds them, for messages.
        first: what the first role is, for messages.
        channels: the numbers of channels that files of a role may have; a role that is not in it has one.
        known: whether the files of the first role are not among the ones that are counted, but what these must fit.

    Raises:
        StabError: a file is missing, damaged or empty, has another sample rate, number of channels, or another length
            than the first role's. All such files are counted, and the first three are named.
    """
    roles = list(paths)
    headers = {role: probe_headers(paths[role]) for role in roles}
    faults = []
    for i in range(len(paths[roles[0]])):
        mixture = headers[roles[0]][i]
        for role in roles:
            wanted = (channels or {}).get(role, (1,))
            header, file = headers[role][i], os.path.relpath(paths[role][i], folder)
            if header is None:
                faults.append(f"{file} is missing")
            elif isinstance(header, StabError):
                faults.append(str(header))
            elif header.sample_rate != sample_rate:
                faults.append(f"{file} is sampled at {header.sample_rate} Hz instead of {sample_rate}")
            elif header.n_channels not in wanted:
                faults.append(f"{file} has {header.n_channels} channels instead of {' or '.join(map(str, wanted))}")
            elif header.n_frames == 0:
                faults.append(f"{file} has no samples")
            elif isinstance(mixture, Header) and header.n_frames != mixture.n_frames:
                faults.append(f"{file} has {header.n_frames} samples, its {first} {mixture.n_frames}")
    if faults:
        n_files = len(paths[roles[0]]) * (len(roles) - known)
        raise StabError(f"{len(faults)} of the {n_files} files of {folder} cannot be used: {some(faults)}")
    return [header.n_frames for header in headers[roles[0]] if isinstance(header, Header)]
