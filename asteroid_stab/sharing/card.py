"""The card of a shared model: what it is, where it comes from, how good it is, and how to use it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from asteroid_stab.metrics.names import MEANINGLESS, METRICS, column_info
from asteroid_stab.metrics.paired import LEVEL, paired_difference
from asteroid_stab.report.evaluation_data import WrittenEvaluation
from asteroid_stab.report.run_data import Run
from asteroid_stab.report.wording import duration, number, parameters
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.recipes import recipe_files, without_links

TAGS = ("asteroid", "asteroid-stab", "speech-separation", "audio-to-audio")


@dataclass(frozen=True)
class Origin:
    """The facts of a card that no evaluation holds.

    Attributes:
        name: ``user/name`` on the hub.
        recipe: name of the recipe.
        data: class of the corpus.
        model: class of the model.
        sample_rate: in Hz.
        n_src: number of sources.
        licence: identifier that the user gave; None: none was given.
        examples: files of sounds in the folder, by what they are.
    """

    name: str
    recipe: str
    data: str
    model: str
    sample_rate: float
    n_src: int | None
    licence: str | None
    examples: Mapping[str, str]


def card(run: Run, origin: Origin) -> str:
    """The text of the card, with the hub's front matter before it.

    Args:
        run: the run, as the report reads it.
        origin: further facts.
    """
    parts = [f"# {origin.name.partition('/')[2]}", _what(run, origin), *_measured(run.evaluation), _use(origin)]
    parts += [_sounds(origin)] if origin.examples else []
    parts += ["## Licence\n\n" + (origin.licence or "The author gave no licence for these weights."), _papers(origin)]
    return f"---\n{_front_matter(run, origin)}---\n\n" + "\n\n".join(parts) + "\n"


def _front_matter(run: Run, origin: Origin) -> str:
    facts: dict[str, Any] = {"library_name": "asteroid", "pipeline_tag": "audio-to-audio", "tags": [*TAGS]}
    if origin.licence:
        facts["license"] = origin.licence
    if run.evaluation is not None and not run.evaluation.of_another_model:  # the hub's tables would not say so
        measured = [
            {"type": name, "name": column_info(name).title, "value": round(found["mean"], 4)}
            for name, found in run.evaluation.metrics.items()
            if _is_shown(name) and math.isfinite(found["mean"])
        ]
        named, found = f"{origin.data}, {run.evaluation.split} set", run.evaluation
        named += f": {found.mixtures}" if found.is_part or found.target else ""
        where = {"type": _identifier(origin.data), "name": named}
        task = {"type": "audio-to-audio", "name": "source separation"}
        result = {"task": task, "dataset": where, "metrics": measured}
        facts["model-index"] = [{"name": origin.name.partition("/")[2], "results": [result]}] if measured else []
    return yaml.safe_dump({key: value for key, value in facts.items() if value}, sort_keys=False, allow_unicode=True)


def _what(run: Run, origin: Origin) -> str:
    seconds = run.column("seconds")
    rows = [
        ("model", f"{origin.model}, {parameters(run.versions.get('n_parameters'))} parameters"),
        ("sources", "–" if origin.n_src is None else str(origin.n_src)),
        ("sample rate", f"{origin.sample_rate:g} Hz"),
        ("recipe", f"`{origin.recipe}`"),
        ("trained with", f"asteroid-stab {_trained_with(run)}".strip()),
        ("training data", origin.data),
        ("training time", duration(None if seconds is None else float(seconds.sum()))),
        ("epochs", "–" if run.metrics is None else str(len(run.metrics))),
    ]
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    return f"A separator that was trained with permutation-invariant training by asteroid-stab.\n\n{table}"


def _trained_with(run: Run) -> str:
    """The version of this package that the run was started with; empty where it is not known."""
    found = run.versions.get("packages", {}).get("asteroid-stab")
    return found if isinstance(found, str) and re.fullmatch(r"[\w.+-]+", found) else ""


def _measured(evaluation: WrittenEvaluation | None) -> list[str]:
    """The table of the metrics; empty where nothing was measured."""
    if evaluation is None:
        return ["## Results\n\nNo evaluation stands in the run folder: nothing was measured."]
    names = [name for name in evaluation.metrics if _is_shown(name)]
    rows = ["| metric | mean | interval | mixtures |", "|---|---|---|---|"]
    for name in names:
        info = column_info(name)
        values = evaluation.utterances[name].to_numpy(float) if name in evaluation.utterances else np.empty(0)
        values = values[np.isfinite(values)]
        mean, half = paired_difference(values[None])[:2] if len(values) else (math.nan, math.nan)
        rows.append(f"| {info.title} | {number(mean, info.digits)} | ± {number(half, info.digits)} | {len(values)} |")
    stale = " The model file has changed since it was measured." if evaluation.of_another_model else ""
    where = f"{evaluation.split.capitalize()} set, {evaluation.mixtures}"
    note = f"{where}; {LEVEL:.0%} interval for other mixtures of its kind.{stale}"
    return ["\n".join(["## Results", "", note, "", *rows])]


def _is_shown(column: str) -> bool:
    """Whether a column is a metric of the estimates or its improvement."""
    return column.removesuffix("_i") in METRICS and column not in MEANINGLESS


def _use(origin: Origin) -> str:
    return (
        "## How to use\n\n```bash\npip install 'asteroid-stab[hub]'\n"
        f"asteroid-stab separate hf://{shlex.quote(origin.name)} recording.wav\n```\n\n"
        "Without asteroid-stab, Asteroid opens the model file:\n\n```python\n"
        "from asteroid.models import BaseModel\nfrom huggingface_hub import hf_hub_download\n"
        f"model = BaseModel.from_pretrained(hf_hub_download({origin.name!r}, {RunLayout('').model.name!r}))\n```\n\n"
        "Models of asteroid-stab itself, such as the refiner, need `import asteroid_stab` before."
    )


def _sounds(origin: Origin) -> str:
    lines = [
        f'{what}: <audio controls src="{file}"></audio> [{file}]({file})' for what, file in origin.examples.items()
    ]
    return "## Example\n\nThe mixture of median quality.\n\n" + "\n\n".join(lines)


def _papers(origin: Origin) -> str:
    text = papers(origin.recipe)
    return "## Citation\n\n" + (text or "The recipe is no recipe of asteroid-stab: its papers are not known here.")


def papers(recipe: str) -> str:
    """The papers behind a recipe of this package, as its card begins; empty where there is no such recipe or card.

    Example:
        >>> papers("ssl/toy_se").partition(",")[0], papers("mine/toy")
        ('Huang', '')
    """
    file = recipe_files().get(recipe)
    place = None if file is None else file.parent / "README.md"
    if place is None or not place.is_file():
        return ""
    body = place.read_text(encoding="utf-8").split("\n\n")[1]
    text = " ".join(re.split(r"\*\*(?:Claim|State)", body)[0].split())
    return without_links(text)


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-").lower() or "unknown"
