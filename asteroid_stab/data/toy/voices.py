"""The speakers of the toy corpus: eSpeak NG's voices in two characters each, dealt out to the splits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def _words(text: str) -> list[str]:
    return text.split()


# Variants of eSpeak NG 1.52 that sound like a person (no robots, no whisper) and differ from each other.
_FEMALE = _words("f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda grandma shelby steph")
_MALE = _words(
    """
    m1 m2 m3 m4 m5 m6 m7 m8 Alex Andy Denis Diogo Gene Jacky Lee Mario Michael Mike Nguyen Reed adam antonio
    boris david ed edward gustave klatt3 klatt4 marcelo max miguel mike2 norbert pablo paul quincy rob sandro
    travis victor
    """
)
# They read English by the rules of these languages: accents, from slight to heavy.
_ACCENTS = _words(
    """
    en-us en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd en-029 en-us-nyc
    de nl sv nb fr es it pt pl cs ro fi hu id hr
    """
)
# From the deepest to the highest character of a variant: bounds of eSpeak NG's pitch, and of the factor on all
# frequencies (a long or a short vocal tract), which it multiplies the pitch with.
_RANGES = {"female": ((5, 90), (0.78, 1.22)), "male": ((10, 99), (0.80, 1.28))}
_CHARACTERS = {"deep": (0.0, 0.3), "high": (0.7, 1.0)}  # parts of that range

N_HELD_OUT = 20
"""Speakers of the validation set, and of the test set."""


class Voice(NamedTuple):
    """A speaker.

    Attributes:
        name: unique in the corpus: variant, accent and character.
        espeak: eSpeak NG's name of the voice.
        words_per_minute: of this speaker.
        pitch: eSpeak NG's parameter, 0 to 99.
        pitch_range: the same, 0 (monotone) to 99.
        warp: factor on all frequencies: the samples are played that much faster.
    """

    name: str
    espeak: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    warp: float


def cast(seed: int) -> dict[str, list[Voice]]:
    """Draws the speakers of train, valid and test.

    Every variant gives two speakers, one deep and one high, who differ in accent, pitch and length of the vocal
    tract. At most one of them is held out, so that a held-out speaker is a voice that is not in training.

    Example:
        >>> {split: len(voices) for split, voices in cast(0).items()}
        {'train': 70, 'valid': 20, 'test': 20}
    """
    generator = np.random.default_rng((seed, 0))
    voices: dict[str, list[Voice]] = {"train": [], "valid": [], "test": []}
    variants = [("female", name) for name in _FEMALE] + [("male", name) for name in _MALE]
    for place, i in enumerate(generator.permutation(len(variants))):
        sex, variant = variants[i]
        speakers = _speakers(sex, variant, generator)
        if place < 2 * N_HELD_OUT:
            voices["valid" if place % 2 else "test"].append(speakers.pop(place // 2 % len(speakers)))
        voices["train"] += speakers
    return voices


def kind(speaker: str) -> str:
    """Returns sex and character of a speaker by name: speakers of one kind have much the same pitch.

    Example:
        >>> kind("Alicia.fr.high"), kind("klatt3.en-us.deep")
        ('female high', 'male deep')
    """
    variant, _, character = speaker.split(".")
    return f"{'female' if variant in _FEMALE else 'male'} {character}"


def _speakers(sex: str, variant: str, generator: np.random.Generator) -> list[Voice]:
    (lowest, highest), (longest, shortest) = _RANGES[sex]
    accents = generator.choice(_ACCENTS, len(_CHARACTERS), replace=False)
    speakers = []
    for (character, bounds), accent in zip(_CHARACTERS.items(), accents, strict=True):
        height = generator.uniform(*bounds)
        # In steps of 1/441: 22,050 Hz times the warp is a multiple of 50 Hz, for a short filter.
        warp = round((longest + height * (shortest - longest)) * 441) / 441
        speakers.append(
            Voice(
                name=f"{variant}.{accent}.{character}",
                espeak=f"{accent}+{variant}",
                words_per_minute=round(generator.uniform(160, 210) / warp),
                pitch=round(lowest + height * (highest - lowest)),
                pitch_range=int(generator.integers(20, 50)),
                warp=warp,
            )
        )
    return speakers
