"""Who speaks in the toy corpus."""

import pytest

from asteroid_stab.data.toy.voices import cast


@pytest.mark.parametrize("seed", range(5))
def test_voices_are_different_and_within_what_espeak_takes(seed):
    everybody = [voice for voices in cast(seed).values() for voice in voices]
    assert len({voice.name for voice in everybody}) == len(everybody)
    assert len({voice[1:] for voice in everybody}) == len(everybody)
    for voice in everybody:
        assert 0 <= voice.pitch <= 99
        assert 0 <= voice.pitch_range <= 99
        assert 80 <= voice.words_per_minute <= 450
        assert 0.77 < voice.warp < 1.29
        assert round(22_050 * voice.warp) % 50 == 0


def test_held_out_voices_are_deep_and_high_alike():
    for split in ("valid", "test"):
        characters = [voice.name.split(".")[2] for voice in cast(0)[split]]
        assert sorted(characters.count(one) for one in set(characters)) == [10, 10]


def test_the_seed_deals_out_anew():
    first, second = cast(0), cast(1)
    assert first == cast(0)
    assert {voice.name for voice in first["test"]} != {voice.name for voice in second["test"]}
