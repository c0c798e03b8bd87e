"""Pairing of utterances: mixtures of different speakers, drawn directly instead of by trial and error.

All draws use ``random.Random.random()`` alone, the one stream that Python promises never to change.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Iterator, Sequence

import numpy as np

from asteroid_stab.errors import StabError

Mixture = tuple[int, ...]


def below(rng: random.Random, n: int) -> int:
    """Draws a whole number from 0 to ``n - 1``, of any size, each as likely."""
    words = n.bit_length() // 32 + 2
    value = 0
    for _ in range(words):
        value = value << 32 | int(rng.random() * 2**32)
    return value * n >> 32 * words


def shuffle(rng: random.Random, items: list) -> None:
    """Puts ``items`` in random order, in place."""
    for i in range(len(items) - 1, 0, -1):
        j = below(rng, i + 1)
        items[i], items[j] = items[j], items[i]


def _weighted(rng: random.Random, weights: np.ndarray) -> int:
    """Draws a position with a probability proportional to its weight (a whole number)."""
    totals = np.cumsum(weights)
    return int(np.searchsorted(totals, below(rng, int(totals[-1])), side="right"))


def most_mixtures(counts: Sequence[int], n_src: int) -> int:
    """Returns how many mixtures of ``n_src`` different speakers there can be if each utterance is used once.

    M mixtures can be made exactly if the speakers, each of whom stands in a mixture at most once, can fill
    their
    places: sum of min(count, M) >= n_src * M.

    Args:
        counts: utterances of each speaker.
        n_src: sources in a mixture.

    Example:
        >>> most_mixtures([5, 1, 1], 2)  # the first speaker finds two partners only
        2
        >>> most_mixtures([2, 2, 2], 2)
        3
    """
    low, high = 0, sum(counts) // n_src
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(count, middle) for count in counts) >= n_src * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _suffix_combinations(counts: Sequence[int], n_src: int) -> list[list[int]]:
    """Counts, at ``[s][j]``, the ways to choose j utterances of different speakers among the speakers from s on."""
    table = [[1] + [0] * n_src]
    for count in reversed(counts):
        after = table[-1]
        table.append([1] + [after[j] + count * after[j - 1] for j in range(1, n_src + 1)])
    return table[::-1]


def n_combinations(counts: Sequence[int], n_src: int) -> int:
    """Returns how many different mixtures of ``n_src`` speakers there are if utterances may be used again.

    Args:
        counts: utterances of each speaker.
        n_src: sources in a mixture.

    Example:
        >>> n_combinations([5, 1, 1], 2)  # 5 * 1 + 5 * 1 + 1 * 1
        11
    """
    return _suffix_combinations(counts, n_src)[0][n_src]


def _deal(groups: Sequence[Sequence[int]], n_src: int, n_mixtures: int, rng: random.Random) -> list[Mixture]:
    """Draws ``n_mixtures`` (at most ``most_mixtures``) of different speakers, each utterance at most once.

    A speaker's probability is proportional to the number of its utterances that are left. Speakers with as many left
    as mixtures remain ("tight") must be in nearly all of these mixtures: ``slack`` is the number of utterances beyond
    the places, and each tight speaker that is passed over uses up one.
    """
    decks = [list(group) for group in groups]
    for deck in decks:
        shuffle(rng, deck)
    left = np.array([len(deck) for deck in decks], dtype=np.int64)
    dealt = []
    for remaining in range(n_mixtures, 0, -1):
        tight = left >= remaining
        slack = int(np.minimum(left, remaining).sum()) - n_src * remaining
        n_forced = int(tight.sum()) - slack
        weights = left.copy()
        chosen: list[int] = []
        while len(chosen) < n_src:
            chosen.append(_weighted(rng, weights * tight if len(chosen) < n_forced else weights))
            weights[chosen[-1]] = 0
        shuffle(rng, chosen)
        dealt.append(tuple(decks[speaker].pop() for speaker in chosen))
        for speaker in chosen:
            left[speaker] -= 1
    return dealt


def _combination(rank: int, groups: Sequence[Sequence[int]], table: list[list[int]], n_src: int) -> list[int]:
    """The combination of this number, of ``table[0][n_src]``, as if they were listed."""
    chosen: list[int] = []
    for speaker, group in enumerate(groups):
        open_places = n_src - len(chosen)
        if not open_places:
            break
        each = table[speaker + 1][open_places - 1]
        if rank < len(group) * each:
            utterance, rank = divmod(rank, each)
            chosen.append(group[utterance])
        else:
            rank -= len(group) * each
    return chosen


def pair_utterances(
    groups: Sequence[Sequence[int]], n_src: int, n_mixtures: int, rng: random.Random, reuse: bool = False
) -> list[Mixture]:
    """Draws ``n_mixtures`` different mixtures of ``n_src`` utterances of different speakers.

    Each utterance is used once. With ``reuse``, if more mixtures are wanted, the rest is drawn from all combinations
    that are not taken yet, each as likely. The order of the sources is random.

    Args:
        groups: utterances (any numbers) of each speaker.
        n_src: sources in a mixture.
        n_mixtures: mixtures wanted.
        rng: source of randomness.
        reuse: whether an utterance may be in several mixtures.

    Raises:
        StabError: fewer can be made; the message says how many.

    Example:
        >>> mixtures = pair_utterances([[0, 1, 2], [3], [4]], 2, 7, random.Random(0), reuse=True)
        >>> sorted(tuple(sorted(mixture)) for mixture in mixtures)
        [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    """
    groups = [group for group in groups if group]
    if len(groups) < n_src:
        raise StabError(f"n_src must be at most {len(groups)}, the number of speakers, got {n_src}")
    counts = [len(group) for group in groups]
    once, table = most_mixtures(counts, n_src), _suffix_combinations(counts, n_src)
    total = table[0][n_src]
    most = total if reuse else once
    if n_mixtures > most:
        rule = "no combination twice" if reuse else f"each utterance once; {total} with reuse"
        raise StabError(
            f"{{argument}} must be at most {most} ({sum(counts)} utterances of {len(groups)} speakers, {n_src} "
            f"different speakers in a mixture, {rule}), got {n_mixtures}",
            "n_mixtures",
        )
    mixtures = _deal(groups, n_src, min(once, n_mixtures), rng)
    taken = {tuple(sorted(mixture)) for mixture in mixtures}
    # By trial while at least half of all combinations stay free, so that every other draw hits a free one;
    # otherwise from a shuffled list of all combinations, of which at least half are wanted.
    if 2 * n_mixtures > total:
        every = list(range(total))
        shuffle(rng, every)
        ranks: Iterator[int] = iter(every)
    else:
        ranks = (below(rng, total) for _ in itertools.count())
    while len(mixtures) < n_mixtures:
        chosen = _combination(next(ranks), groups, table, n_src)
        key = tuple(sorted(chosen))
        if key not in taken:
            taken.add(key)
            shuffle(rng, chosen)
            mixtures.append(tuple(chosen))
    return mixtures


def deal_noise(lengths: Sequence[int], wanted: Sequence[int], rng: random.Random) -> tuple[list[int], int]:
    """Deals a noise to every mixture; returns their numbers, and the number of passes through the noises.

    Each noise is used once before any is used again. A mixture gets a noise at least as long as the mixture, each as
    likely, or the longest that is left if none is long enough (it is then repeated).

    Args:
        lengths: of the noises.
        wanted: lengths of the mixtures, in the same unit.
        rng: source of randomness.

    Example:
        >>> deal_noise([5, 9], wanted=[7, 7, 7], rng=random.Random(0))
        ([1, 0, 1], 2)
    """
    by_length = sorted(range(len(lengths)), key=lambda noise: (lengths[noise], noise))
    left: list[int] = []
    dealt, n_passes = [], 0
    for length in wanted:
        if not left:
            left, n_passes = by_length.copy(), n_passes + 1
        shorter = bisect.bisect_left(left, length, key=lambda noise: lengths[noise])
        n_fitting = len(left) - shorter
        dealt.append(left.pop(shorter + below(rng, n_fitting) if n_fitting else -1))
    return dealt, n_passes
