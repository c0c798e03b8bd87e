"""Variants of a run: another model file of its folder, or its model asked to work in another way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout

if TYPE_CHECKING:
    from torch import nn

MOST_LISTED = 5  # model files that a message names


@dataclass(frozen=True)
class Variant:
    """A variant of a run or of a model file, such as ``stage1,iterations2``.

    Attributes:
        file: the model file.
        file_word: the word that names the file within its run folder; empty for the best model.
        model_words: the words that the model itself must understand, in alphabetical order.
        file_words: all words that name a model file of the run folder.
    """

    file: Path
    file_word: str
    model_words: tuple[str, ...]
    file_words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The one spelling of the variant; empty where no variant is asked for."""
        return ",".join([*([self.file_word] if self.file_word else []), *self.model_words])

    def load(self) -> nn.Module:
        """The model of the variant, in evaluation mode on the CPU.

        Raises:
            StabError: the file cannot be read, or the model has no such variant.
        """
        from asteroid_stab.models.files import load_model
        from asteroid_stab.models.variants import apply_variants

        model = load_model(self.file)
        listed = [*self.file_words[:MOST_LISTED], *(["..."] if len(self.file_words) > MOST_LISTED else [])]
        apply_variants(model, self.model_words, listed)
        return model


def find_variant(path: Path, text: str | None) -> Variant:
    """The variant that ``--variant TEXT`` names.

    Args:
        path: a run folder, or a model file.
        text: words separated by commas, in any order; None for the run or the file itself.

    Raises:
        StabError: ``text`` is no list of words, two words name model files, or the file does not exist.
    """
    words = text.split(",") if text is not None else []
    for word in words:
        if not re.fullmatch(r"[a-z]+(0|[1-9]\d*)?", word):
            raise StabError(f"--variant must be words such as iterations2, separated by commas, got {text!r}")
    run = RunLayout(path) if path.is_dir() else None
    files = run.model_files() if run is not None else {}
    named = [word for word in words if word in files]
    if len(named) > 1:
        raise StabError(f"--variant: one word may name a model file, got {' and '.join(named)}")
    file = files[named[0]] if named else run.model if run is not None else path
    if not file.is_file():
        raise StabError(f"no model file at {str(file)!r}; a run folder has one from its first epoch on")
    return Variant(file, "".join(named), tuple(sorted(word for word in words if word not in files)), tuple(files))
