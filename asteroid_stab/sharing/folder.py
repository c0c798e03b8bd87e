"""The folder of a shared model: what of a run folder others may have, and its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from asteroid_stab.errors import StabError
from asteroid_stab.models.files import load_model, rate_of
from asteroid_stab.report.run_data import Run, read_runs
from asteroid_stab.required import needed
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.stored import read_config
from asteroid_stab.sharing.card import Origin, card
from asteroid_stab.sharing.plain_config import has_place, without_places

WEIGHTS, CARD, SUMMARY, SOUNDS = "model.safetensors", "README.md", "metrics.json", "examples"
KIND = "median"  # of the kept sounds: neither the best nor the worst


def shared_names() -> list[str]:
    """Names of the files of a shared model, and patterns of them."""
    own = RunLayout("")
    return [own.model.name, own.config.name, WEIGHTS, CARD, SUMMARY, f"{SOUNDS}/*.wav"]


def write_folder(
    run: RunFolder, folder: Path, name: str, split: str, licence: str | None, sounds: bool = False
) -> list[str]:
    """Writes the files of a shared model; returns the keys of the config that were left empty.

    Args:
        run: the run.
        folder: an empty folder.
        name: ``user/name`` on the hub.
        split: the split whose evaluation is shown.
        licence: identifier of the weights' licence; None: the card says that none was given.
        sounds: whether the sounds that the evaluation kept of one mixture go with it.

    Raises:
        StabError: the run has no model, a file of it cannot be read, or the model's arguments name a place of this
            machine; sounds are asked for and there are none; or a package is missing.
    """
    layout, place = run.layout, RunLayout(folder)
    model = load_model(layout.model)
    arguments: Any = model.get_model_args()  # type: ignore[operator]  # of Asteroid's BaseModel
    if places := [at for at, text in _texts(arguments) if has_place(text)]:
        raise StabError(f"the model's argument {places[0]} names a place of this machine, which a hub would show")
    read = read_runs([run.path], split)[0]
    stored = read_config(layout.config)
    config, emptied = without_places(stored)
    shutil.copyfile(layout.model, place.model)
    _write_weights(model, folder / WEIGHTS)
    place.config.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if read.evaluation is not None:
        of = {"n": len(read.evaluation.utterances), "n_of": read.evaluation.n_of, "target": read.evaluation.target}
        kept = {"split": split, **of, "metrics": _finite(read.evaluation.metrics)}
        (folder / SUMMARY).write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    target = str((stored.get("data") or {}).get("_target_", "")).rpartition(".")[2]
    origin = Origin(
        name=name,
        recipe=str(config.get("recipe") or ""),
        data=target.removesuffix("Corpus") or "unknown",
        model=type(model).__name__,
        sample_rate=rate_of(model),
        n_src=_n_src(arguments, model),
        licence=licence,
        examples=_copy_sounds(read, folder) if sounds else {},
    )
    (folder / CARD).write_text(card(read, origin), encoding="utf-8")
    return emptied


def _write_weights(model: torch.nn.Module, file: Path) -> None:
    safetensors = needed("safetensors.torch", "push", "hub")
    weights = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    safetensors.save_file(weights, file, metadata={"format": "pt"})


def _finite(metrics: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    return {
        name: {key: value if abs(value) < float("inf") else None for key, value in numbers.items()}
        for name, numbers in metrics.items()
    }


def _copy_sounds(run: Run, folder: Path) -> dict[str, str]:
    """Copies the sounds of one mixture; returns their names in the folder, by what they are.

    Raises:
        StabError: the evaluation kept none.
    """
    found = [one for one in (run.evaluation.examples if run.evaluation else []) if one.kind == KIND]
    if not found or not all(file.is_file() for file in (found[0].mixture, *found[0].estimates)):
        raise StabError("--sounds: no evaluation of this split has kept sounds in the run folder; evaluate it first")
    sounds = {"mixture": found[0].mixture}
    sounds.update({f"estimate {i}": file for i, file in enumerate(found[0].estimates, 1)})
    (folder / SOUNDS).mkdir()
    for file in sounds.values():
        shutil.copyfile(file, folder / SOUNDS / file.name)
    return {what: f"{SOUNDS}/{file.name}" for what, file in sounds.items()}


def _n_src(arguments: dict[str, Any], model: Any) -> int | None:
    found = arguments.get("n_src", getattr(model, "n_src", None))
    return found if isinstance(found, int) else None


def _texts(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield at, str(key)
            yield from _texts(child, f"{at}.{key}" if at else str(key))
    elif isinstance(value, (list, tuple)):
        for child in value:
            yield from _texts(child, at)
    elif isinstance(value, str):
        yield at, value
