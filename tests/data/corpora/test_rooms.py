"""A corpus in rooms: rooms of the splits, what is passed on of the base, and arguments that cannot be used."""

import sys

import pytest
import torch

from asteroid_stab.data import (
    DynamicCorpus,
    MixtureDataModule,
    MultiTaskCorpus,
    RoomsCorpus,
    ToyCorpus,
    VariableSourcesCorpus,
)
from asteroid_stab.data.rooms.bank import RoomBank
from asteroid_stab.data.rooms.mixtures import DrawnRoomMixtures
from asteroid_stab.errors import StabError, within
from asteroid_stab.run.compose import compose_recipe

SMALL = {"geometry": "whamr", "n_mics": 2, "n_positions": 2, "low_rt60_s": 0.1, "high_rt60_s": 0.2}
SMALL |= {"n_train_rooms": 2, "n_valid_rooms": 1, "n_test_rooms": 1}


@pytest.fixture
def rooms(tiny_corpus, tmp_path_factory):
    """Makes a corpus of tones in a few dry rooms."""
    cache = tmp_path_factory.getbasetemp() / "few-rooms"

    def make(base=None, **more):
        return RoomsCorpus(base or tiny_corpus(), **{**SMALL, "cache_dir": str(cache), **more})

    return make


def test_the_config_of_a_recipe_has_these_defaults():
    config = compose_recipe("baseline/toy", ["data=rooms"]).data
    config = {key: value for key, value in config.items() if key not in ("_target_", "base")}
    made = RoomsCorpus(ToyCorpus(), **config)
    assert vars(made).keys() == vars(RoomsCorpus(ToyCorpus())).keys()
    for key, value in vars(RoomsCorpus(ToyCorpus())).items():
        assert key == "base" or getattr(made, key) == value


def test_splits_have_rooms_of_their_own(rooms):
    corpus = rooms()
    banks = [corpus.bank(split) for split in ("train", "valid", "test")]
    assert [bank.plan.n_rooms for bank in banks] == [2, 1, 1]
    assert len({float(bank.read(0, 0).distances[0]) for bank in banks}) == 3
    assert float(rooms(room_seed=1).bank("test").read(0, 0).distances[0]) != float(banks[2].read(0, 0).distances[0])
    assert rooms(low_rt60_s=None, high_rt60_s=None).rt60_s == (0.1, 1.0)
    with pytest.raises(ValueError, match="split must be one of train, valid, test, got 'dev'"):
        corpus.bank("dev")


def test_names_and_order_are_the_bases(rooms, tiny_corpus):
    ours, base = rooms().dataset("train", 0.1, 3), tiny_corpus().dataset("train", 0.1, 3)
    assert [*ours.names] == [*base.names]
    assert (ours.n_src, ours.sample_rate, ours.segment, ours.n_mics) == (2, 8000, 800, 2)
    assert [*ours.sampler(2, 1)] == [*base.sampler(2, 1)]
    mixture, sources, item = ours[1, 4]
    assert (mixture.shape, sources.shape, item) == ((2, 800), (2, 800), 4)
    alone = rooms(mics=[1]).dataset("train", 0.1, 3)
    assert alone[1, 4][0].shape == (800,)
    assert rooms(mics=[0, 1], ref_mic=1).dataset("valid")[0][0].shape == (2, 1200)


def test_short_mixtures_are_padded(rooms):
    data = MixtureDataModule(rooms(), segment_s=0.2, batch_size=2, pad_short=True)
    data.setup("fit")
    mixture, _, _, length = data.train_set[0]
    assert mixture.shape == (2, 1600)
    assert length == 1200
    assert not mixture[:, 1200:].any()


def test_short_mixtures_are_not_padded_in_fresh_rooms(rooms):
    """They stayed in one room without a word."""
    corpus = rooms(fresh=True)
    refusal = r"padded stay in one room: set data.fresh=false, or loader.pad_short=false"
    with pytest.raises(StabError, match=refusal), within("data"):
        corpus.padded_dataset("train", 0.2)
    assert len(corpus.padded_dataset("valid", 0.2)) == 6


def test_a_base_that_cannot_pad_says_so(rooms, tiny_corpus):
    toy = ToyCorpus(n_train=2, n_valid=2, n_test=2, n_utterances=1)
    with pytest.raises(StabError, match="dynamic mixing draws no utterance shorter than loader.segment_s"):
        rooms(DynamicCorpus(toy, n_train=6)).padded_dataset("train", 0.2)
    both = MultiTaskCorpus(tiny_corpus(), tiny_corpus(n_src=1))  # the second task would be left out
    with pytest.raises(StabError, match="data=multitask cannot pad short mixtures"):
        rooms(both).padded_dataset("train", 0.2)


def test_an_evaluation_says_which_references_it_is_of(rooms):
    assert [rooms(target=target).references for target in ("early", "image", "anechoic")] == [
        "early",
        "image",
        "anechoic",
    ]
    assert rooms(reverberant=False, target="image").references == "anechoic"  # there is no other sound


def test_silent_sources_stay_silent(rooms, tiny_corpus):
    parts = VariableSourcesCorpus({"one": tiny_corpus(n_src=1), "two": tiny_corpus()})
    data = rooms(parts).dataset("valid")
    assert data.tasks == parts.dataset("valid").tasks == rooms(parts).tasks
    assert data.n_active.tolist() == [int((data[i][1].abs().amax(1) > 0).sum()) for i in range(len(data))]
    assert {*data.n_active} == {1, 2}


@pytest.mark.slow
def test_dynamic_mixtures_are_in_rooms_too(rooms):
    toy = ToyCorpus(n_train=4, n_valid=2, n_test=2, n_utterances=1)
    corpus = rooms(DynamicCorpus(toy, n_train=6))
    train = corpus.dataset("train", 0.5, 1)
    assert isinstance(train, DrawnRoomMixtures)
    assert not train.stable_ids
    assert train[3, 5][0].shape == (2, 4000)
    assert type(corpus.dataset("valid")) is type(rooms(toy).dataset("train", 0.5))
    assert corpus.utterances("valid").names == toy.utterances("valid").names


def test_fresh_rooms_are_for_training_alone(rooms):
    corpus = rooms(fresh=True)
    kinds = [type(corpus.dataset(split, s)).__name__ for split, s in (("train", 0.1), ("train", None), ("valid", 0.1))]
    assert kinds == ["DrawnRoomMixtures", "RoomMixtures", "RoomMixtures"]
    one, other = (corpus.dataset("train", 0.1, seed) for seed in (0, 1))
    assert one.hearing.seed != other.hearing.seed
    same = rooms().dataset("valid", None, 4)
    assert torch.equal(same[2][0], rooms().dataset("valid", None, 5)[2][0])


def test_the_rooms_are_simulated_before_a_training(rooms, tmp_path, monkeypatch):
    rooms(cache_dir=str(tmp_path)).prepare(["train", "valid"])
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".bank", ".bank", ".sums", ".sums"]
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    rooms(cache_dir=str(tmp_path)).dataset("train", 0.1)
    with pytest.raises(StabError, match=r"data=rooms needs pyroomacoustics .*pip install 'asteroid-stab\[rooms\]'"):
        rooms(cache_dir=str(tmp_path)).prepare(["test"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"base": "x"}, "base must be a corpus, whose mixtures are put into rooms, got str"),
        ({"geometry": "wham"}, "geometry must be one of sms_wsj, whamr, got 'wham' .did you mean 'whamr'"),
        ({"n_mics": 0}, "n_mics must be an integer of at least 1, got 0"),
        ({"n_mics": 65}, "n_mics must be at most 64, got 65"),
        ({"n_positions": 1}, "n_positions must be at least 2, the sources of base, got 1"),
        (
            {"low_rt60_s": 0.3},
            "low_rt60_s must be above 0 and at most high_rt60_s, which is at most 3, got 0.3 and 0.2",
        ),
        ({"high_rt60_s": 3.5}, "got 0.1 and 3.5"),
        ({"low_rt60_s": float("nan")}, "got nan and 0.2"),
        ({"n_valid_rooms": 0}, "n_valid_rooms must be an integer of at least 1, got 0"),
        ({"room_seed": -1}, "room_seed must be an integer of at least 0, got -1"),
        ({"target": "reverb"}, "target must be one of early, image, anechoic, got 'reverb'"),
        ({"low_snr_db": 5.0}, "must be both null or both numbers, the lower first, got 5.0 and None"),
        ({"low_snr_db": 5.0, "high_snr_db": 4.0}, "the lower first, got 5.0 and 4.0"),
        ({"mics": [0, 0]}, "mics must be a list of different channels"),
        ({"mics": [0], "ref_mic": 1}, r"ref_mic must be one of mics=\[0\]"),
    ],
)
def test_arguments_out_of_range(rooms, more, message):
    with pytest.raises(ValueError, match=message):
        rooms(**more)


def test_microphones_that_the_rooms_do_not_have(rooms):
    for more, name in (({"mics": [0, 2]}, "mics"), ({"ref_mic": 2}, "ref_mic")):
        wanted = f"data.{name} must be of the 2 channels of the mixtures, from 0 to 1, got 2"
        for ask in (lambda corpus: corpus.prepare(["train"]), lambda corpus: corpus.dataset("valid")):
            with pytest.raises(StabError, match=wanted), within("data"):
                ask(rooms(**more))


def test_noise_of_the_base_needs_a_position(rooms, tiny_corpus):
    class Noisy(type(tiny_corpus())):
        def dataset(self, *args):
            data = super().dataset(*args)
            read = data.read
            data.read = lambda *part: (lambda mixture, sources: (mixture + 0.1, sources))(*read(*part))
            return data

    with pytest.raises(StabError, match=r"data.n_positions must be at least 3, got 2"), within("data"):
        rooms(Noisy()).dataset("valid")
    assert rooms(Noisy(), n_positions=3).dataset("valid")[0][0].shape == (2, 1200)


def test_a_base_of_several_microphones(rooms, tiny_corpus):
    with pytest.raises(StabError, match=r"base must have mixtures of one microphone, got 3"):
        rooms(tiny_corpus(n_mics=3)).dataset("valid")


def test_a_broken_bank_is_named(rooms, tmp_path):
    corpus = rooms(cache_dir=str(tmp_path))
    (path,) = [RoomBank.open_or_make(corpus.bank("valid").plan, tmp_path)._floats.path]
    with open(path, "r+b") as file:
        file.seek(500)
        file.write(b"\0\1\2\3")
    with pytest.raises(StabError, match=r"rooms_whamr_.*\.bank is damaged: .* of room 0; delete"):
        corpus.dataset("valid")
