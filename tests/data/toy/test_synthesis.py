"""eSpeak NG says the same, whatever was said before."""

import numpy as np
import pytest

from asteroid_stab.data.toy.synthesis import Request, synthesize

BREATHY = Request("en-us+f2", 170, 50, 50, "A voice with breath in it, which is noise.")
PLAIN = Request("de+m3", 200, 60, 40, "Another voice.")


def said(*batches):
    return list(synthesize(batches))


def test_a_batch_depends_on_itself_alone():
    once = said([BREATHY, PLAIN])
    other = said([PLAIN], [BREATHY, PLAIN], [BREATHY, BREATHY])
    assert len(other) == 5
    assert np.array_equal(once[0], other[1])
    assert np.array_equal(once[1], other[2])
    assert once[0].dtype == np.int16
    assert len(once[0]) > 22_050


def test_how_it_is_said_matters():
    slow, high, other = said(
        [PLAIN._replace(words_per_minute=100), PLAIN._replace(pitch=90), PLAIN._replace(voice="fr+f4")]
    )
    (plain,) = said([PLAIN])
    assert len(slow) > 1.5 * len(plain)
    assert not np.array_equal(high[:20_000], plain[: len(high[:20_000])])
    assert len(other) != len(plain)


def test_an_unknown_voice():
    with pytest.raises(RuntimeError, match="eSpeak NG failed: eSpeak NG has no voice 'xx-none'"):
        said([PLAIN], [PLAIN._replace(voice="xx-none")])
