"""Variants of a trained model: the same weights, asked to work in another way, each named by a word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from asteroid_stab.errors import StabError


@runtime_checkable
class ModelWithVariants(Protocol):
    """A model that can be turned into variants of itself, as ``evaluate --variant`` and ``separate --variant`` do.

    It is any module that has these two members; nothing is registered.

    Attributes:
        variants: what each kind of variant is, by its word; an N at the end of the word stands for a whole number, so
            that ``{"passesN": "..."}`` declares ``passes0``, ``passes1`` and so on.

    Example:
        >>> class Repeating(nn.Identity):
        ...     variants = {"passesN": "N passes in place of the trained number"}
        ...
        ...     def apply_variant(self, word):
        ...         self.n_passes = int(word.removeprefix("passes"))
        >>> model = Repeating()
        >>> apply_variants(model, ["passes3"])
        >>> model.n_passes
        3
    """

    @property
    def variants(self) -> Mapping[str, str]: ...

    def apply_variant(self, word: str) -> None:
        """Turns this model into the variant of a word whose kind is declared.

        Raises:
            StabError: the number in the word is out of range.
        """
        ...


def kind_of(word: str) -> str:
    """The kind of variant that a word names: the word with N in place of its number.

    Example:
        >>> kind_of("passes12"), kind_of("causal")
        ('passesN', 'causal')
    """
    return re.sub(r"\d+$", "N", word)


def apply_variants(model: nn.Module, words: Sequence[str], others: Sequence[str] = ()) -> None:
    """Turns a model into the variant that some words name together.

    Args:
        model: the model; one that is not :class:`ModelWithVariants` has no variants.
        words: words of different kinds.
        others: words that would be possible as well, for the message.

    Raises:
        StabError: the model has no such variant, or two words are of one kind.
    """
    known = dict(model.variants) if isinstance(model, ModelWithVariants) else {}
    kinds = [kind_of(word) for word in words]
    for word, kind in zip(words, kinds, strict=True):
        if kind not in known:
            there = [*others, *(f"{name} ({meaning})" for name, meaning in known.items())]
            listed = f"choose from {', '.join(there)}" if there else "it has none"
            raise StabError(f"--variant: {type(model).__name__} has no variant {word!r}; {listed}")
        if kinds.count(kind) > 1:
            same = [one for one in words if kind_of(one) == kind]
            raise StabError(f"--variant: words of a variant must be of different kinds, got {' and '.join(same)}")
    if isinstance(model, ModelWithVariants):
        for word in words:
            model.apply_variant(word)
