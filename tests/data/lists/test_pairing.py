"""Pairing of utterances, against enumeration of everything that is possible."""

import itertools
import random
from collections import Counter
from functools import cache

import pytest

from asteroid_stab.data.lists.pairing import below, deal_noise, most_mixtures, n_combinations, pair_utterances, shuffle
from asteroid_stab.errors import StabError


def grouped(counts):
    numbers = itertools.count()
    return [[next(numbers) for _ in range(count)] for count in counts]


def most_by_trying_all(counts, n_src):
    @cache
    def most(left):
        best = 0
        for chosen in itertools.combinations(range(len(left)), n_src):
            if all(left[s] for s in chosen):
                after = tuple(sorted(count - (s in chosen) for s, count in enumerate(left)))
                best = max(best, 1 + most(after))
        return best

    return most(tuple(sorted(counts)))


def test_most_mixtures_is_exact():
    rng = random.Random(0)
    for _ in range(80):
        counts = [rng.randrange(5) for _ in range(rng.randrange(1, 6))]
        for n_src in (1, 2, 3):
            assert most_mixtures(counts, n_src) == most_by_trying_all(counts, n_src), (counts, n_src)


def test_number_of_combinations_is_exact():
    rng = random.Random(1)
    for _ in range(30):
        groups = grouped([rng.randrange(4) for _ in range(6)])
        for n_src in (1, 2, 4):
            chosen = itertools.combinations(groups, n_src)
            assert n_combinations([len(g) for g in groups], n_src) == sum(
                1 for part in chosen for _ in itertools.product(*part)
            )


@pytest.mark.parametrize("reuse", [False, True])
def test_the_most_can_always_be_made_of_different_speakers(reuse):
    rng = random.Random(2)
    for _ in range(150):
        groups = grouped([rng.randrange(7) for _ in range(rng.randrange(4, 10))])
        speaker = {u: s for s, group in enumerate(groups) for u in group}
        counts = [len(group) for group in groups]
        n_src = rng.randrange(1, 1 + sum(map(bool, groups)))
        most = (n_combinations if reuse else most_mixtures)(counts, n_src)
        if most > 3000:
            continue
        mixtures = pair_utterances(groups, n_src, most, rng, reuse)
        assert len({frozenset(mixture) for mixture in mixtures}) == most
        assert all(len({speaker[u] for u in mixture}) == n_src for mixture in mixtures)
        if not reuse:
            assert max(Counter(itertools.chain(*mixtures)).values()) == 1


def test_utterances_are_reused_only_where_it_is_needed():
    groups = grouped([2] * 10)
    mixtures = pair_utterances(groups, 2, 30, random.Random(3), reuse=True)
    assert mixtures[:10] == pair_utterances(groups, 2, 10, random.Random(3), reuse=False)
    assert len({frozenset(mixture) for mixture in mixtures}) == 30
    assert set(itertools.chain(*mixtures)) == set(range(20))


def test_speakers_are_drawn_as_their_utterances_would_be():
    groups, n_draws = grouped([1, 2, 3]), 3000
    once = Counter(frozenset(pair_utterances(groups, 2, 1, random.Random(i))[0]) for i in range(n_draws))
    # Speakers are drawn as utterances would be: 1/6, 2/6, 3/6, then among the others.
    first = {0: 1 / 6, 1: 2 / 6, 2: 3 / 6}
    both = {(a, b): first[a] * first[b] / (1 - first[a]) for a, b in itertools.permutations(range(3), 2)}
    for a, b in itertools.combinations(range(3), 2):
        pair = frozenset((groups[a][0], groups[b][0]))
        wanted = (both[a, b] + both[b, a]) / len(groups[a]) / len(groups[b])
        assert abs(once[pair] / n_draws - wanted) < 4 * (wanted / n_draws) ** 0.5
    positions = Counter(pair_utterances(groups, 2, 1, random.Random(i))[0][0] for i in range(n_draws))
    third = sum(positions[u] for u in groups[2]) / n_draws
    assert abs(third - (both[2, 0] + both[2, 1] + both[0, 2] + both[1, 2]) / 2) < 0.03  # order tells nothing


def test_twenty_sources_of_twenty_one_speakers_come_at_once():
    """LibriMix#22: from ten speakers on, drawing until speakers differ does not end."""
    mixtures = pair_utterances(grouped([40] * 21), 20, 42, random.Random(0))
    assert all(len({u // 40 for u in mixture}) == 20 for mixture in mixtures)


@pytest.mark.parametrize(
    ("counts", "n_src", "wanted", "reuse", "message"),
    [
        ([5, 1, 1], 2, 3, False, r"at most 2 \(7 utterances of 3 speakers, .*; 11 with reuse\), got 3"),
        ([5, 1, 1], 2, 12, True, r"at most 11 \(7 utterances of 3 speakers, .* no combination twice\), got 12"),
        ([1] * 2300, 3, 3000, False, r"at most 766 .* got 3000"),  # LibriMix#37 never ended
        ([5, 0, 1], 3, 1, True, "n_src must be at most 2, the number of speakers, got 3"),
    ],
)
def test_what_cannot_be_made_is_said(counts, n_src, wanted, reuse, message):
    with pytest.raises(StabError, match=message):
        pair_utterances(grouped(counts), n_src, wanted, random.Random(0), reuse)


def test_draws_are_those_of_any_machine():
    """Hard-coded: Python promises that random() never changes, and nothing else is drawn from."""
    rng = random.Random(7)
    assert [below(rng, n) for n in (10, 10**6, 2**80)] == [3, 650934, 647841591372703669030617]
    items = list(range(8))
    shuffle(random.Random(7), items)
    assert items == [1, 7, 5, 6, 0, 3, 4, 2]
    assert pair_utterances(grouped([2, 2, 2]), 2, 5, random.Random(7), reuse=True) == [
        (3, 0),
        (5, 1),
        (4, 2),
        (5, 0),
        (4, 1),
    ]


def test_numbers_are_evenly_spread():
    counts = Counter(below(random.Random(i), 5) for i in range(5000))
    assert set(counts) == set(range(5))
    assert all(abs(count - 1000) < 130 for count in counts.values())


def test_noise_is_long_enough_while_there_is_such_and_used_evenly():
    lengths = [10, 20, 30, 40]
    dealt, n_passes = deal_noise(lengths, [35, 35, 5, 15], random.Random(0))
    assert dealt[0] == 3  # the only one that is long enough
    assert dealt[1] == 2  # none is: the longest left
    assert sorted(dealt) == [0, 1, 2, 3]
    assert n_passes == 1
    dealt, n_passes = deal_noise(lengths, [1] * 9, random.Random(0))
    assert sorted(Counter(dealt).values()) == [2, 2, 2, 3]
    assert n_passes == 3
