"""What the toy corpus says."""

import numpy as np

from asteroid_stab.data.toy.sentences import sentence


def test_sentences_vary_and_are_of_the_promised_length():
    said = [sentence(np.random.default_rng(i)) for i in range(1000)]
    assert len(set(said)) > 990
    lengths = [len(text.split()) for text in said]
    assert (min(lengths), max(lengths)) == (10, 15)
    assert all(text[0].isupper() and text[-1] in ".?" and "  " not in text for text in said)
    assert len({word for text in said for word in text.split()}) > 250
