"""Which recordings are mixed: the draw without a list of what is free is the draw from that list."""

from types import SimpleNamespace

import numpy as np
import pytest

from asteroid_stab.data.corpora.sound_mixtures import Place, SoundMixture, draw_sound_mixtures

SOUNDS = SimpleNamespace(sounds=[SimpleNamespace(group=group) for group in "abbcaadecf"])


def drawn_from_lists(sounds, places, n_mixtures, seed):
    mixtures = []
    for i in range(n_mixtures):
        generator = np.random.default_rng((*seed, len(places), i))
        taken, levels, used = [], [], []
        for place in places:
            kind = place.kinds[int(generator.integers(len(place.kinds)))]
            free = [sounds.sounds[s].group for s in kind if sounds.sounds[s].group not in used]
            free = list(dict.fromkeys(free))
            used.append(free[int(generator.integers(len(free)))])
            own = [s for s in kind if sounds.sounds[s].group == used[-1]]
            taken.append(own[int(generator.integers(len(own)))])
            levels.append(float(generator.uniform(place.low_db, place.high_db)))
        mixtures.append(SoundMixture(tuple(taken), tuple(levels)))
    return mixtures


@pytest.mark.parametrize(
    "places",
    [
        [Place([range(10)])],
        [Place([range(10)], -2.0, 2.0)] * 6,
        [Place([range(6), range(4, 10)])] * 3,
        [Place([range(3)]), Place([range(6, 10)], -10.0, 0.0)],
    ],
)
def test_draws_are_those_from_a_list_of_what_is_free(places):
    assert draw_sound_mixtures(SOUNDS, places, 200, (0, 3)) == drawn_from_lists(SOUNDS, places, 200, (0, 3))


@pytest.mark.parametrize(
    "places",
    [[Place([range(3)]), Place([range(6, 10)], each_once=True)], [Place([range(3), range(6)], each_once=True)]],
)
def test_a_place_that_deals_out_each_once_is_the_first_and_of_one_set(places):
    with pytest.raises(ValueError, match="each_once must be of the first place .* from one set"):
        draw_sound_mixtures(SOUNDS, places, 4, (0, 3))
