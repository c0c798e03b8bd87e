"""Values of a config that stand elsewhere in it."""

import re

import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.resolve import corpus_value


def test_a_corpus_of_corpora_has_its_bases_values():
    data = {"n_train": 3, "base": {"n_src": 1, "base": {"n_src": 2, "sample_rate": 8000}}}
    assert [corpus_value(data, key) for key in ("n_train", "n_src", "sample_rate")] == [3, 1, 8000]
    with pytest.raises(KeyError, match="data.n_noises is needed, and this corpus has none"):
        corpus_value(data, "n_noises")


def test_a_model_follows_the_corpus():
    noisy = compose_recipe("ssl/toy_se", ["data.base.sample_rate=16000", "data.n_src=2"])
    assert (noisy.model.n_src, noisy.model.sample_rate) == (2, 16_000)
    both = compose_recipe("ssl/multitask_libri2mix", ["data.base.sample_rate=16000"])
    assert (both.data.base.n_src, both.model.n_src, both.model.sample_rate) == (2, 3, 16_000)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data.base=null"],
            "'dsd_lo/rooms': data.base must be a corpus, which data@data.base=OPTION chooses, got null",
        ),
        (["data.base=5"], "'dsd_lo/rooms': data.base must be a corpus, which data@data.base=OPTION chooses, got 5"),
        (["~data.base"], "recipe 'dsd_lo/rooms': 'data.n_src is needed, and this corpus has none'"),
        (["data=variable", "data.parts.one=null"], "data.parts.one must be a corpus, which"),
    ],
)
def test_what_stands_in_the_place_of_a_corpus_is_named(words, message):
    with pytest.raises(StabError, match=re.escape(message)):
        compose_recipe("dsd_lo/rooms", words)


def test_a_corpus_without_the_value_is_named():
    with pytest.raises(StabError, match="data.n_src is needed, and this corpus has none"):
        compose_recipe("baseline/toy", ["~data.n_src"])
