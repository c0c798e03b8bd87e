"""Mixtures of one, two and three sources as one set."""

import numpy as np
import pytest
import torch

from asteroid_stab.data import MixtureDataModule, VariableSourcesCorpus
from asteroid_stab.errors import StabError


@pytest.fixture
def corpus(tiny_corpus):
    parts = {"one": tiny_corpus(n_train=4, n_src=1), "three": tiny_corpus(n_train=8, n_src=3, n_valid=3)}
    return VariableSourcesCorpus(parts)


def test_missing_sources_are_silent_and_the_mixture_is_the_part_s_own(corpus):
    whole = corpus.dataset("train")
    assert (corpus.n_src, whole.n_src, len(whole)) == (3, 3, 12)
    assert sorted(whole.n_active.tolist()) == [1] * 4 + [3] * 8
    parts = {part.n_src: part.dataset("train") for part in corpus.parts.values()}
    seen = {1: [], 3: []}
    for item, (name, n_active) in enumerate(zip(whole.names, whole.n_active, strict=True)):
        mixture, sources, number = whole[item]
        part = parts[n_active]
        own = name.removeprefix(f"{n_active}spk_")
        wanted_mixture, wanted, _ = part[part.names.index(own)]
        seen[n_active].append(own)
        assert number == item
        assert torch.equal(mixture, wanted_mixture)
        assert torch.equal(sources[:n_active], wanted)
        assert not sources[n_active:].any()
        assert sources.shape == (3, len(mixture))
    assert {n: sorted(names) for n, names in seen.items()} == {n: sorted(part.names) for n, part in parts.items()}


@pytest.mark.parametrize("lacking", ["one", "three"])
def test_no_speed_where_sources_of_a_part_lack_sound_of_their_mixture(corpus, lacking):
    corpus.parts[lacking].whole_sources = False
    again = VariableSourcesCorpus(corpus.parts)
    with pytest.raises(StabError, match=r"sources lack reverberation of the mixture, .* set loader.speeds=\[\]"):
        MixtureDataModule(again, speeds=[0.9, 1.1]).prepare_data()


def test_the_first_items_have_all_numbers_of_sources(corpus):
    assert corpus.dataset("train").n_active[:6].tolist().count(1) == 2
    assert corpus.dataset("train").n_active[:3].tolist().count(1) == 1


def test_crops_are_the_same_for_any_number_of_workers(corpus):
    batches = {}
    for num_workers in (0, 2):
        data = MixtureDataModule(corpus, segment_s=0.1, batch_size=4, num_workers=num_workers, seed=3)
        data.prepare_data()
        data.setup("fit")
        batches[num_workers] = list(data.train_dataloader())
    assert len(batches[0]) == 3
    for one, other in zip(batches[0], batches[2], strict=True):
        for ours, theirs in zip(one, other, strict=True):
            assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))


def test_short_mixtures_are_left_out_with_their_counts(corpus):
    short = corpus.dataset("train", segment_s=0.1)
    assert len(short.n_active) == len(short) == 12
    with pytest.raises(StabError, match="no mixture is as long as segment_s=9"):
        corpus.dataset("train", segment_s=9)
    padded = corpus.padded_dataset("valid", 0.2)
    assert padded.n_active.tolist() == corpus.dataset("valid").n_active.tolist()


def test_the_fingerprint_is_of_all_parts(corpus, tiny_corpus):
    parts = dict(corpus.parts)
    other = VariableSourcesCorpus({**parts, "one": tiny_corpus(n_train=5, n_src=1)})
    same = VariableSourcesCorpus(parts)
    prints = [one.dataset("train").fingerprint for one in (corpus, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_parts_that_do_not_fit(tiny_corpus):
    one = tiny_corpus(n_src=1)
    with pytest.raises(ValueError, match=r"parts must be corpora of different numbers of sources, got \{'a': 1, 'b'"):
        VariableSourcesCorpus({"a": one, "b": tiny_corpus(n_src=1)})
    with pytest.raises(ValueError, match="different numbers of sources, got {}"):
        VariableSourcesCorpus({})
    with pytest.raises(ValueError, match="parts must be corpora by name, got 3"):
        VariableSourcesCorpus(3)
    other = tiny_corpus(n_src=2)
    other.sample_rate = 16_000
    with pytest.raises(ValueError, match=r"parts must have one sample_rate, got \{'a': 8000, 'b': 16000\}"):
        VariableSourcesCorpus({"a": one, "b": other})


def test_dynamic_mixing_cannot_be_a_part(tiny_corpus):
    class Own(type(tiny_corpus(n_src=2).dataset("train"))):
        def audio(self, epoch, item):
            return np.zeros(8, np.float32), np.zeros((2, 8), np.float32)

    class Dynamic(tiny_corpus):
        def dataset(self, split, segment_s=None, seed=0):
            return Own(4, 2, 8000, segment_s, seed, 0, {})

    corpus = VariableSourcesCorpus({"one": tiny_corpus(n_src=1), "two": Dynamic(n_src=2)})
    with pytest.raises(StabError, match=r"parts.two must have mixtures of fixed sources.* Own makes the crops itself"):
        corpus.dataset("train")


def test_faults_of_a_part_carry_its_name(tiny_corpus):
    class Missing(tiny_corpus):
        def dataset(self, split, segment_s=None, seed=0):
            raise StabError("{argument} is not set", argument="root")

        prepare = utterances = dataset

    corpus = VariableSourcesCorpus({"one": tiny_corpus(n_src=1), "two": Missing(n_src=2)})
    for call in (corpus.dataset, corpus.utterances):
        with pytest.raises(StabError, match=r"parts\.two\.root is not set"):
            call("train")


def test_several_microphones(tiny_corpus):
    parts = {n: tiny_corpus(n_train=3, n_src=n, n_mics=2) for n in (1, 2)}
    data = VariableSourcesCorpus({f"of {n}": part for n, part in parts.items()}).dataset("train", 0.1)
    assert (data.n_mics, data[0][0].shape, data[0][1].shape) == (2, (2, 800), (2, 800))
    mixed = VariableSourcesCorpus({"one": parts[1], "two": tiny_corpus(n_src=2)})
    with pytest.raises(StabError, match=r"must have as many microphones, got one 2, two 1: mics=\[0\] takes one"):
        mixed.dataset("train")
