"""Values that break programs: numbers out of range, wrong types, odd texts, and calls that must never run."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

NUMBERS = [
    *(0, -1, 1, 2, 3, 7, 64, 10**6, 10**9, 10**18, 2**31, 2**63, 2**64, -(2**63)),
    *(0.0, -0.5, 0.5, 1.5, 1e-30, 1e-3, 1e6, 1e9, 1e18, 1e300, -1e300),
    *(float("nan"), float("inf"), float("-inf")),
]
TEXTS = [
    *("", " ", "null", "None", "~", "true", "False", "on", "-1", "1_000", "0x10", "1e3", "12:30", "2024-05-01", "???"),
    *("'", '"', "a'b", "a=b", "a,b", "a:b", "[1,2", "{a", "}", "[]", "{}", "é", "日本", "🙂", "\t", "a\nb", "\x1b[31m"),
    *("..", "../..", "/", "/dev/null", "/dev/zero", "/proc/self/mem", "/etc/passwd", "a" * 300, "b" * 5000, "%s%n"),
    *("${x}", "${oc.env:HOME}", "${corpus:n_src}", "${.x}", "${", "$(true)", "<script>alert(1)</script>", "-", "--"),
    *("conv_tasnet", "toy", "baseline/toy", "torch.nn.Linear", "si_sdr", "cpu", "cuda:7", "train", "test"),
]
CALLS = ["os.system", "builtins.eval", "subprocess.call", "pandas.read_pickle", "shutil.rmtree", "builtins.open"]
"""Callables that a stored config could name; each would make the canary if it were called with it."""


def number(draw: Random) -> Any:
    """Draws a number."""
    return draw.choice(NUMBERS)


def plain(draw: Random, canary: Path, depth: int = 0) -> Any:
    """Draws a value in plain types, up to lists and mappings in each other; some would run code if they were built."""
    kind = draw.random()
    if kind < 0.4:
        return number(draw)
    if kind < 0.75 or depth > 2:
        return draw.choice([*TEXTS, str(canary), None, True, False])
    if kind < 0.82:
        return call(draw, canary)
    if kind < 0.92:
        return [plain(draw, canary, depth + 1) for _ in range(draw.randrange(4))]
    return {draw.choice(["a", "_target_", "0", "", "é", "n_src"]): plain(draw, canary, depth + 1) for _ in range(2)}


def call(draw: Random, canary: Path) -> dict[str, Any]:
    """Draws a node of a config that would make the canary if it were built."""
    target = draw.choice(CALLS)
    words = {"builtins.eval": f"open({str(canary)!r}, 'w')", "builtins.open": str(canary)}
    argument = words.get(target, f"touch {canary}")
    return {"_target_": target, "_args_": [argument, "w"] if target == "builtins.open" else [argument]}


def override_text(draw: Random, canary: Path) -> str:
    """Draws the text of an override's value, as a shell passes it on."""
    kind = draw.random()
    if kind < 0.45:
        return str(number(draw))
    if kind < 0.85:
        return draw.choice([*TEXTS, str(canary)])
    if kind < 0.92:
        return f"[{', '.join(override_text(draw, canary)[:40] for _ in range(draw.randrange(4)))}]"
    node = call(draw, canary)
    return f"{{_target_: {node['_target_']}, _args_: ['{node['_args_'][0]}']}}"
