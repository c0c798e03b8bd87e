"""Plain English sentences from a small grammar, for the speakers of the toy corpus."""

from __future__ import annotations

import numpy as np


def _words(text: str) -> list[str]:
    return text.split()


_ADJECTIVES = _words(
    """
    old young quiet clever tired gentle heavy narrow yellow purple silver wooden broken frozen
    hidden hungry lonely proud patient curious distant shallow bitter golden crooked muddy polished
    dusty cheerful nervous famous careful stubborn wild tiny enormous round sharp smooth warm
    """
)
_PEOPLE = _words(
    """
    captain teacher farmer doctor painter sailor baker neighbour driver singer carpenter student
    gardener nurse judge pilot shepherd tailor miner dancer hunter librarian grandmother stranger
    mechanic fisherman goalkeeper postman queen engineer
    """
)
_THINGS = _words(
    """
    clock lantern ladder letter carpet kettle basket bottle hammer mirror window blanket pencil
    trumpet barrel cushion engine feather garden bridge candle ticket bucket pancake parcel
    telescope umbrella notebook wagon violin puzzle helmet hat coin picture table rope wheel stone
    map
    """
)
_PLACES = _words(
    """
    harbour village mountain river station kitchen market forest tower island valley meadow cellar
    museum library workshop corner castle beach desert orchard tunnel theatre farmhouse lighthouse
    """
)
_DEEDS = _words(
    """
    carried painted followed repaired borrowed noticed polished measured collected delivered dropped
    examined forgot guarded lifted opened pulled remembered sold returned washed watched found
    counted described buried moved cleaned bought carved
    """
)
_MANNERS = _words(
    """
    slowly quickly carefully silently bravely often again together happily nearly politely suddenly
    twice gladly badly rarely softly
    """
)
_WHERE = _words(
    """
    near behind beside above below beyond inside across from around towards under
    """
)
_NUMBERS = _words(
    """
    two three four five six seven eight nine ten eleven twelve twenty thirty forty ninety
    """
)
_TIMES = [
    "yesterday",
    "before the evening rain",
    "after a long winter",
    "at five in the morning",
    "during the quiet holiday",
    "on the second of August",
    "when the bell rang",
    "just before sunrise",
    "last Thursday afternoon",
    "in the middle of June",
    "while everybody slept",
    "until the lights went out",
    "for almost seventeen years",
    "at the end of the week",
]


def sentence(generator: np.random.Generator) -> str:
    """Draws a sentence of 10 to 15 words, some four seconds when spoken.

    Example:
        >>> sentence(np.random.default_rng(0))
        'The clever captain carefully buried the muddy pencil around the corner.'
    """

    def one(words: list[str]) -> str:
        return words[generator.integers(len(words))]

    def thing() -> str:
        if generator.random() < 0.25:
            return f"{one(_NUMBERS)} {one(_ADJECTIVES)} {one(_THINGS)}s"
        return f"the {one(_ADJECTIVES)} {one(_THINGS)}"

    def place() -> str:
        return f"{one(_WHERE)} the {one(_PLACES)}"

    deed = f"{one(_DEEDS)} {thing()}"
    pattern = generator.integers(4)
    if pattern == 0:
        text = f"the {one(_ADJECTIVES)} {one(_PEOPLE)} {one(_MANNERS)} {deed} {place()}"
    elif pattern == 1:
        text = f"{one(_TIMES)}, a {one(_PEOPLE)} {deed} {place()}"
    elif pattern == 2:
        text = f"{place()}, the {one(_PEOPLE)} and the {one(_ADJECTIVES)} {one(_PEOPLE)} {one(_MANNERS)} {deed}"
    else:
        text = f"who {deed} {place()}, and who {one(_MANNERS)} {one(_DEEDS)} {thing()}?"
    return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")
