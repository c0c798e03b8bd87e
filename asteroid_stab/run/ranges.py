"""Ranges of the numbers that reach classes of the hosts, which check few of them: one table, asked before all is built.

Classes of this package check their arguments themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """The numbers from ``least`` to ``most``.

    Attributes:
        least: the smallest.
        most: the largest.
        open_below: whether ``least`` itself is outside.
        open_above: whether ``most`` itself is outside.
    """

    least: float
    most: float = 1e18
    open_below: bool = False
    open_above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is in the range."""
        low = value > self.least if self.open_below else value >= self.least
        return low and (value < self.most if self.open_above else value <= self.most)

    def __str__(self) -> str:
        low = f"above {self.least:g}" if self.open_below else f"at least {self.least:g}"
        if self.most >= 1e18:
            return low
        return f"{low} and {'below' if self.open_above else 'at most'} {self.most:g}"


_POSITIVE = Range(0.0, open_below=True)
_FROM_0, _FROM_1 = Range(0), Range(1)
_SHARE = Range(0.0, 1.0)
_BELOW_1 = Range(0.0, 1.0, open_above=True)
_SIZE, _DEPTH = Range(1, 1_000_000), Range(1, 1000)

_TRAINER = {
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"), _FROM_1),
    **dict.fromkeys(("max_epochs", "max_steps", "num_sanity_val_steps"), Range(-1)),
    **dict.fromkeys(("min_epochs", "min_steps", "log_every_n_steps", "reload_dataloaders_every_n_epochs"), _FROM_0),
    **dict.fromkeys(("limit_train_batches", "limit_val_batches", "val_check_interval"), _POSITIVE),
    **dict.fromkeys(("limit_test_batches", "limit_predict_batches", "overfit_batches", "gradient_clip_val"), _FROM_0),
    "devices": Range(-1, 4096),
}
_OPTIMIZER = {
    **dict.fromkeys(("lr", "weight_decay", "lr_decay", "eps", "lambd", "t0", "initial_accumulator_value"), _FROM_0),
    **dict.fromkeys(("alpha", "rho", "momentum", "dampening", "momentum_decay"), _SHARE),
    "betas": _BELOW_1,
}
_SCHEDULER = {
    **dict.fromkeys(("gamma", "max_lr", "base_lr", "noam_scale", "exp_max", "exp_base", "div_factor"), _POSITIVE),
    **dict.fromkeys(("step_size", "total_iters", "T_max", "T_0", "T_mult", "total_steps", "epochs"), _FROM_1),
    **dict.fromkeys(("steps_per_epoch", "d_model", "warmup_steps", "milestones"), _FROM_1),
    **dict.fromkeys(("patience", "cooldown", "min_lr", "threshold", "eps", "power", "eta_min"), _FROM_0),
    **dict.fromkeys(("start_factor", "end_factor", "pct_start"), _SHARE),
    "factor": _BELOW_1,
}
_CALLBACK = {
    **dict.fromkeys(("patience", "min_delta"), _FROM_0),
    **dict.fromkeys(("every_n_epochs", "every_n_train_steps"), _FROM_0),
    "save_top_k": Range(-1),
}
_MODEL = {
    **dict.fromkeys(("n_src", "n_filters", "kernel_size", "stride", "bn_chan", "hid_chan", "hid_size"), _SIZE),
    **dict.fromkeys(("chunk_size", "hop_size", "n_heads", "ff_hid", "conv_kernel_size"), _SIZE),
    **dict.fromkeys(("n_blocks", "n_repeats", "num_layers", "num_blocks"), _DEPTH),
    "upsampling_depth": Range(1, 30),  # each halves the resolution
    "skip_chan": Range(0, 1_000_000),
    "sample_rate": Range(0, 1e9, open_below=True),
    "dropout": _BELOW_1,
}
_FLAGS = {("optim", "maximize"): "would maximise the loss"}
_OF_PART = {
    "trainer": _TRAINER,
    "optim": _OPTIMIZER,
    "scheduler": _SCHEDULER,
    "callbacks": _CALLBACK,
    "model": _MODEL,
}


def range_faults(config: Mapping[str, Any]) -> Iterator[str]:
    """Yields a message for each number of a config that is outside its range; ``nan`` is outside of all.

    Args:
        config: the resolved config, in plain values.
    """
    for name, node in config.items():
        yield from _not_numbers(node, str(name))
    for part, ranges in _OF_PART.items():
        node = config.get(part)
        if part == "model" and isinstance(node, Mapping) and not str(node.get("_target_")).startswith("asteroid"):
            continue  # a net of somebody else, whose arguments of these names mean what it likes
        if isinstance(node, Mapping):
            nodes = {f"{part}.{key}": child for key, child in node.items()} if part == "callbacks" else {part: node}
            for at, child in nodes.items():
                yield from _outside(child, at, ranges)
    for (part, key), what in _FLAGS.items():
        node = config.get(part)
        if isinstance(node, Mapping) and node.get(key):
            yield f"{part}.{key} must be false, got {node[key]!r}: it {what}"


def _outside(node: Any, at: str, ranges: Mapping[str, Range]) -> Iterator[str]:
    for key, wanted in ranges.items():
        value = node.get(key) if isinstance(node, Mapping) else None
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number):
                continue
            if not wanted.holds(number) or (key == "devices" and number == 0):
                yield f"{at}.{key} must be {wanted}{' and not 0' * (key == 'devices')}, got {number!r}"


def _not_numbers(node: Any, at: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _not_numbers(child, f"{at}.{key}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from _not_numbers(child, f"{at}[{i}]")
    elif isinstance(node, float) and math.isnan(node):
        yield f"{at} must be a number, got nan"
