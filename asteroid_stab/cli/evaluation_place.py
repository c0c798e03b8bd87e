"""The folder of an evaluation: what is in it already, and a new one in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from asteroid_stab.atomic import check_writable
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.names import NUMBERS
from asteroid_stab.run.layout import EvaluationLayout

_ELSEWHERE = "--out DIR writes the evaluation elsewhere"


def check_broken(summary: dict[str, Any]) -> None:
    """Checks that every mixture was read, separated, measured and, where words are counted, recognised.

    Raises:
        StabError: some were not; it names all of them.
    """
    from asteroid_stab.metrics.words import WER

    unheard = summary.get("failure_reasons", {}).get(WER, {})
    faults = (
        ("could not be measured", summary.get("broken")),
        ("have no word error rate; their other metrics were measured", unheard),
    )
    lines = [
        "\n  ".join([f"{len(of)} of {summary['n']} mixtures {what}", *(f"{name}: {why}" for name, why in of.items())])
        for what, of in faults
        if of
    ]
    if lines:
        raise StabError("\n".join(lines))


def existing(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The summary of exactly this evaluation if the folder holds it; None if it holds none or one of an older model.

    Raises:
        StabError: it holds another evaluation of the same model, or of a beamformer in place of a model.
    """
    from asteroid_stab.run.summary import current

    try:
        summary = current(json.loads(EvaluationLayout(folder).summary.read_text(encoding="utf-8")), folder)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    known = {key: summary.get(key) for key in settings}
    if known == settings:
        _check_shown(summary, EvaluationLayout(folder).summary)
        return summary
    if known["model_sha256"] == settings["model_sha256"] or summary.get("oracle") != settings.get("oracle"):
        differs = next(key for key in ("oracle", *settings) if known.get(key) != settings.get(key))
        what = "a beamformer" if summary.get("oracle") else "a model"
        raise StabError(
            f"{folder} holds an evaluation of {what} with {differs}={known[differs]}, "
            f"wanted {settings[differs]}; --overwrite replaces it"
        )
    return None


def _check_shown(summary: dict[str, Any], file: Path) -> None:
    """Checks that a summary, whose folder may come from anybody, has what is printed of it.

    Raises:
        StabError: it has not.
    """
    from asteroid_stab.report.files import check_shape
    from asteroid_stab.report.shapes import COST, NUMBER, SUMMARY

    numbers = {**dict.fromkeys(NUMBERS, NUMBER), "n": int}
    shape = {**SUMMARY, "n": int, "split": str, "metrics": {"si_sdr": numbers, "si_sdr_i": numbers}}
    shape |= {"failure_reasons": {str: {str: str}}, "reference_fallbacks": {str: str}}
    check_shape(summary, shape, file)
    if summary.get("cost") is not None:
        check_shape(summary["cost"], COST, file)


def check_place(place: EvaluationLayout, is_ours: bool) -> None:
    """Checks, before anything is measured, that the evaluation can be written.

    Args:
        place: where it will be.
        is_ours: whether the folder is of a run; another one must be new, or hold an evaluation.

    Raises:
        StabError: it cannot be written.
    """
    folder = place.folder
    if folder.exists() and not folder.is_dir():
        raise StabError(f"the folder of the evaluation is a file: {str(folder)!r}; {_ELSEWHERE}")
    if not is_ours and folder.is_dir() and any(folder.iterdir()) and not place.summary.is_file():
        raise StabError(f"--out must be a new folder or one of an evaluation, got {str(folder)!r} with other files")
    check_writable(folder.parent, _ELSEWHERE)


def move_evaluation(new: EvaluationLayout, place: EvaluationLayout) -> None:
    """Moves a whole evaluation to its place; what else somebody keeps in that folder stays.

    The summary, by which an evaluation is known, goes first and comes last: in between there is none.
    """
    place.folder.mkdir(exist_ok=True)
    for old in reversed(place.files()):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for made in new.files():
        if made.exists():
            made.rename(place.folder / made.name)
