"""Two sets dealt out as homogeneous batches."""

import numpy as np
import pytest
import torch

from asteroid_stab.data import EpochSampler, EscCorpus, MixtureDataModule, MultiTaskCorpus
from asteroid_stab.data.corpus import check_folder
from asteroid_stab.data.sampler import TaskSampler
from asteroid_stab.errors import StabError


def joined(tiny_corpus, n_separation=11, n_enhancement=6, **kwargs):
    base = tiny_corpus(n_train=n_separation, n_src=3)
    data = MixtureDataModule(MultiTaskCorpus(base, tiny_corpus(n_train=n_enhancement, n_src=1)), 0.1, **kwargs)
    data.setup("fit")
    return data


def test_batches_are_of_one_task_and_separation_goes_as_if_alone(tiny_corpus):
    data = joined(tiny_corpus, batch_size=2, seed=3)
    alone = EpochSampler(11, 2, seed=3)
    orders = []
    for epoch in (0, 1):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        alone.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == 5 + 3
        separated = [batch for batch in batches if batch[1].shape[1] == 3]
        assert torch.cat([ids for _, _, ids in separated]).tolist() == [item for _, item in alone]
        enhanced = torch.cat([ids for _, sources, ids in batches if sources.shape[1] == 1])
        assert sorted(enhanced.tolist()) == [11, 12, 13, 14, 15, 16]
        orders.append([sources.shape[1] for _, sources, _ in batches])
    assert orders[0] != orders[1]


def test_an_id_is_one_mixture_of_one_task(tiny_corpus):
    data = joined(tiny_corpus, batch_size=2)
    train, base = data.train_set, data.corpus.base.dataset("train", 0.1)
    for item in (0, 10):
        assert torch.equal(train[5, item][1], base[5, item][1])
    mixture, sources, item = train[5, 11 + 4]
    wanted = data.corpus.enhancement.dataset("train", 0.1)[5, 4]
    assert item == 15
    assert torch.equal(mixture, wanted[0])
    assert torch.equal(sources, wanted[1])
    assert train.names[15] == "enhancement: tiny-4"
    assert len({*train.names}) == len(train) == 17
    assert train.fingerprint != base.fingerprint


def test_classes_are_those_of_the_separation(tiny_corpus, esc, tmp_path):
    base = EscCorpus(str(esc), n_train=8, n_valid=4, n_test=4, cache_dir=str(tmp_path))
    corpus = MultiTaskCorpus(base, tiny_corpus(n_train=6, n_src=1))
    corpus.prepare(["train", "valid"])
    train = corpus.dataset("train", 0.1)
    assert train.classes == train.separation.classes == ("dog", "rain", "rooster", "sea_waves")
    assert train.labels.shape == (14, 2)
    np.testing.assert_array_equal(train.labels[:8], train.separation.labels)


def test_ranks_take_the_same_task_at_the_same_step():
    parts = [[EpochSampler(n, 2, 0, rank, 2) for n in (13, 9)] for rank in (0, 1)]
    ranks = [list(TaskSampler(own)) for own in parts]
    one = list(TaskSampler([EpochSampler(13, 4, 0), EpochSampler(9, 4, 0)]))
    assert len(ranks[0]) == len(ranks[1]) == 10
    steps = [np.array(rank).reshape(-1, 2, 2) for rank in ranks]
    together = np.concatenate(steps, axis=1)
    np.testing.assert_array_equal(together.reshape(-1, 2), np.array(one))


def test_the_validation_and_the_test_are_separation(tiny_corpus):
    data = joined(tiny_corpus, batch_size=2)
    assert data.valid_set.n_src == 3
    assert len(data.valid_set) == 6
    assert data.test_dataset().n_src == 3
    assert data.test_dataset("train").names[-1] == "tiny-10"


@pytest.mark.parametrize(
    ("base", "enhancement", "message"),
    [
        ({"n_src": 1}, {"n_src": 1}, "base must have at least 2 sources, since enhancement has 1, got n_src=1"),
        ({"n_src": 2}, {"n_src": 2}, "enhancement must have n_src=1, got 2"),
    ],
)
def test_wrong_corpora_are_refused(tiny_corpus, base, enhancement, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskCorpus(tiny_corpus(**base), tiny_corpus(**enhancement))


def test_corpora_of_two_rates_are_refused(tiny_corpus):
    enhancement = tiny_corpus(n_src=1)
    enhancement.sample_rate = 16_000
    with pytest.raises(ValueError, match="enhancement must have the sample_rate of base, 8000, got 16000"):
        MultiTaskCorpus(tiny_corpus(), enhancement)


@pytest.mark.parametrize(
    ("sizes", "message"), [((3, 9), "separation must have .* got 3 items"), ((9, 3), "enhancement must have .* got 3")]
)
def test_a_set_smaller_than_a_batch_is_refused(tiny_corpus, sizes, message):
    data = joined(tiny_corpus, *sizes, batch_size=4)
    with pytest.raises(StabError, match=message):
        data.train_dataloader()


def test_errors_of_its_corpora_name_their_arguments(tiny_corpus):
    class Nowhere(tiny_corpus):
        def dataset(self, split, segment_s=None, seed=0):
            check_folder("noise_root", None, "the noise")

    for parts, name in (((tiny_corpus, Nowhere), "enhancement"), ((Nowhere, tiny_corpus), "base")):
        corpus = MultiTaskCorpus(parts[0](n_src=3), parts[1](n_src=1))
        with pytest.raises(
            StabError, match=rf"^{name}.noise_root is not set; set {name}.noise_root=FOLDER to the noise"
        ):
            corpus.dataset("train", 0.1)


def test_its_fingerprint_is_that_of_both_sets(tiny_corpus):
    first, same, more, fewer = (
        joined(tiny_corpus, *sizes).train_set.fingerprint for sizes in ((11, 6), (11, 6), (11, 7), (10, 6))
    )
    assert first == same
    assert len({first, more, fewer}) == 3


def test_several_microphones(tiny_corpus):
    base = tiny_corpus(n_mics=2)
    both = MultiTaskCorpus(base, tiny_corpus(n_src=1, n_mics=2)).dataset("train", 0.1)
    assert (both.n_mics, both[0][0].shape, both[len(both) - 1][0].shape) == (2, (2, 800), (2, 800))
    with pytest.raises(StabError, match="as many microphones, got separation 2, enhancement 1"):
        MultiTaskCorpus(base, tiny_corpus(n_src=1)).dataset("train", 0.1)
    mixture, sources = both.read(len(both) - 1, 100, 300)
    assert (mixture.shape, sources.shape) == ((2, 200), (1, 200)), "a part of the time, not of the microphones"
