"""Damage of files: of their bytes, of the nodes of a text's structure, and of what a file of torch.save holds."""

from __future__ import annotations

import copy
import io
import pickle
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import torch

from fuzz.values import NUMBERS, plain

_HEADERS = [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 43_000_000_000 & 0xFFFFFFFF]


class Canary:
    """Makes the canary when it is unpickled by a loader that runs code."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def damage_bytes(draw: Random, content: bytes) -> bytes:
    """Flips bits, cuts, doubles, moves or overwrites a part; some of it in the head, where sizes stand."""
    data = bytearray(content)
    if not data:
        return b"\x00"
    for _ in range(draw.choice([1, 1, 1, 2, 8])):
        at = draw.randrange(min(len(data), 64)) if draw.random() < 0.5 else draw.randrange(len(data))
        kind = draw.randrange(7)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = draw.randbytes(draw.choice([1, 4, 100]))
        elif kind == 3:
            data[at : at + 4] = struct.pack("<I", draw.choice(_HEADERS))
        elif kind == 4:
            del data[at : at + draw.choice([1, 4, 1000])]
        elif kind == 5:
            data += data[at : at + 1000]
        else:
            data[at : at + 16] = draw.randbytes(16)
        if not data:
            return b""
    return bytes(data)


def damage_node(draw: Random, node: Any, canary: Path, new: Any = plain) -> Any:
    """Returns a copy of a structure of mappings and lists with one to three nodes replaced, removed or added."""
    whole = {"": copy.deepcopy(node)}
    for _ in range(draw.choice([1, 1, 2, 3])):
        parent, key = draw.choice(list(_places(whole)))
        kind = draw.random()
        if kind < 0.65:
            parent[key] = new(draw, canary)
        elif kind < 0.8 and key != "":
            del parent[key]
        elif isinstance(parent, dict):
            parent[draw.choice(["é", "_target_", "x" * 500, 7, True, None, "n_src"])] = new(draw, canary)
        else:
            parent.insert(0, new(draw, canary))
    return whole.get("")


def _places(node: Any) -> Any:
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from _places(node[key])


def damage_saved(draw: Random, content: Any, canary: Path) -> bytes:
    """Returns a file of torch.save of a damaged structure: tensors of other kinds, other types, or a hostile object."""
    return saved(damage_node(draw, content, canary, new=saved_value))


def saved(content: Any) -> bytes:
    """Returns the bytes of torch.save."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def saved_value(draw: Random, canary: Path) -> Any:
    """Draws a value of another kind for a file of torch.save."""
    kind = draw.randrange(12)
    if kind < 4:
        return plain(draw, canary)
    made = [
        lambda: torch.zeros(draw.choice([(), (0,), (1,), (3, 5), (128, 1, 32)])),
        lambda: torch.full((4, 4), float("nan")),
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
        lambda: torch.zeros(8, dtype=draw.choice([torch.complex64, torch.int64, torch.bool, torch.float16])),
        lambda: torch.zeros(1).expand(10**9),
        lambda: Canary(canary),
        lambda: {draw.choice([1, None, (1, 2), "a"]): draw.choice(NUMBERS)},
    ]
    return made[kind - 4]()


def hostile_zip(draw: Random, content: bytes, canary: Path) -> bytes:
    """Returns a file of torch.save whose pickle is replaced by one that calls something."""
    calls = [
        pickle.dumps(Canary(canary)),
        b"cbuiltins\nbytearray\n(I200000000000\ntR.",
        b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.",
        b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00a\x85R.",
        pickle.dumps(content[:50]),
    ]
    before, after = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(after, "w", zipfile.ZIP_STORED) as archive:
        for record in before.infolist():
            data = before.read(record)
            archive.writestr(record.filename, draw.choice(calls) if record.filename.endswith("data.pkl") else data)
    return after.getvalue()
