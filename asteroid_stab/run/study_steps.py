"""Steps of a run of a study, training and evaluation: which have come to their end, and what the others would do."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from asteroid_stab.atomic import write_text
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_plan import StudyRun

STEPS = ("train", "evaluate")


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

    def begin(self, step: str) -> None:
        """Notes that a step begins: it and all later ones are no longer done."""
        for later in STEPS[STEPS.index(step) :]:
            self._known.pop(later, None)
        self._write()

    def end(self, step: str, ended_well: bool, seconds: float) -> None:
        """Notes that a step has ended, and after how many seconds."""
        self._known["seconds"] = self.seconds + seconds
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
            return {**known, "seconds": float(known.get("seconds", 0.0))}
        except (OSError, ValueError, TypeError, AttributeError):  # then both are done once more, which changes nothing
            return {}

    def _write(self) -> None:
        write_text(self.file, json.dumps(self._known))
