"""The end of the report: the settings that differ between the runs, and each configuration in full."""

from __future__ import annotations

from collections.abc import Sequence

from asteroid_stab.report.palette import run_key
from asteroid_stab.report.parts import Listing, Note, Part, Section, Table
from asteroid_stab.report.run_data import Run
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.stored import parse_config
from asteroid_stab.run.upgrade import upgrade_config

ABSENT = "absent"


def configuration(runs: Sequence[Run]) -> Section:
    """The settings that differ between the runs, and each configuration in full, with the package versions."""
    parts: list[Part] = []
    if len(runs) > 1:
        parts.append(_differences(runs))
    for run in runs:
        label = f": {run.name}" if len(runs) > 1 else ""
        colour = run_key(run.index).colour if len(runs) > 1 else ""
        parts.append(Listing(f"Resolved configuration{label}", run.config, colour))
        packages = "\n".join(f"{name}=={version}" for name, version in run.versions.get("packages", {}).items())
        if packages:
            parts.append(Listing(f"Package versions{label}", packages, colour))
    return Section("configuration", "Configuration", parts)


def _differences(runs: Sequence[Run]) -> Part:
    configs = [parse_config(run.config, str(RunLayout(run.path).config)) for run in runs]
    flat = [_flatten(upgrade_config(config)) for config in configs]
    keys = list(dict.fromkeys(key for config in flat for key in config))
    differing = [key for key in keys if len({config.get(key, ABSENT) for config in flat}) > 1]
    if not differing:
        return Note("All runs have the same configuration.")
    rows = [[key, *(config.get(key, ABSENT) for config in flat)] for key in differing]
    return Table("Settings that differ", ["Setting", *(run.name for run in runs)], rows, numeric=False)


def _flatten(node: object, prefix: str = "") -> dict[str, str]:
    """The leaves of nested dictionaries and lists as text, by dotted key.

    Example:
        >>> _flatten({"data": {"n_src": 2}, "betas": [0.9, 0.99]})
        {'data.n_src': '2', 'betas': '[0.9, 0.99]'}
    """
    if isinstance(node, dict) and node:
        return {
            key: text
            for name, child in node.items()
            for key, text in _flatten(child, f"{prefix}.{name}" if prefix else str(name)).items()
        }
    return {prefix: "null" if node is None else str(node)}
