"""Steps of a run of a study, training and evaluation: which have come to their end, and what the others would do."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from asteroid_stab.atomic import write_text
from asteroid_stab.run.layout import RunLayout, StudyLayout
from asteroid_stab.run.study_plan import StudyRun

STEPS = ("train", "evaluate")


def cpu_seconds_of(run: RunLayout) -> float:
    """Returns how long processors computed for a run of a study, both steps; nan where the study has not noted it."""
    row, seed = run.root.parts[-2:]
    try:
        known = json.loads((run.root.parent / StudyLayout("").steps(row, int(seed)).name).read_text(encoding="utf-8"))
        return float(known["cpu_seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # trained without a study, or by one that noted the clock alone
        return math.nan


class Steps:
    """The steps of one run: which are done, in a file beside its folder.

    A step counts as done if it ended well with the same words, and if its result is there and of the present model.

    Args:
        run: the run.
        study: the study.
    """

    def __init__(self, run: StudyRun, study: StudyLayout):
        self.run = run
        self.file = study.steps(*run.key)
        self._known = self._read()

    def next(self) -> str | None:
        """Returns the step to do next; None where nothing is left to do."""
        return next((step for step in STEPS if not self.is_done(step)), None)

    def is_done(self, step: str) -> bool:
        """Whether a step has come to its end."""
        if self._known.get(step) != self.words(step) or not self.run.run.model.is_file():
            return False
        return step == STEPS[0] or (self.is_done(STEPS[0]) and self._is_measured())

    def words(self, step: str) -> list[str]:
        """The words of a step."""
        return self.run.training if step == STEPS[0] else self.run.evaluation

    @property
    def seconds(self) -> float:
        """How long the steps have taken so far."""
        return float(self._known.get("seconds", 0.0))

    @property
    def cpu_seconds(self) -> float:
        """How long processors have computed for the steps so far: what a busy machine does not change."""
        return float(self._known.get("cpu_seconds", 0.0))

    def begin(self, step: str) -> None:
        """Notes that a step begins: it and all later ones are no longer done."""
        for later in STEPS[STEPS.index(step) :]:
            self._known.pop(later, None)
        self._write()

    def end(self, step: str, ended_well: bool, seconds: float, cpu_seconds: float) -> None:
        """Notes that a step has ended, and after how many seconds of the clock and of processors."""
        self._known |= {"seconds": self.seconds + seconds, "cpu_seconds": self.cpu_seconds + cpu_seconds}
        if ended_well:
            self._known[step] = self.words(step)
        self._write()

    def _is_measured(self) -> bool:
        """Whether the evaluation is there, and of the model as it is."""
        digest = hashlib.sha256(self.run.run.model.read_bytes()).hexdigest()
        try:
            summary = json.loads(self.run.run.evaluation("test").summary.read_text(encoding="utf-8"))
            return summary["model_sha256"] == digest
        except (OSError, ValueError, KeyError, TypeError):  # none, or one that the step will report on
            return False

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.file.read_text(encoding="utf-8"))
            return {**known, **{name: float(known.get(name, 0.0)) for name in ("seconds", "cpu_seconds")}}
        except (OSError, ValueError, TypeError, AttributeError):  # then both are done once more, which changes nothing
            return {}

    def _write(self) -> None:
        write_text(self.file, json.dumps(self._known))
