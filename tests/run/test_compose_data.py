import pytest
from omegaconf import OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.run.compose_data import chosen_corpus, compose_data


def test_the_groups_own_keys_are_taken():
    config = OmegaConf.to_container(compose_data(["data=librispeech", "data.root=/a=b, c", "data.n_src=3"]))
    assert config["_target_"] == "asteroid_stab.data.LibriSpeechCorpus"
    assert (config["root"], config["test_list"]) == ("/a=b, c", "libri3mix_test-clean.csv")


def test_the_corpora_within_are_chosen_too():
    config = compose_data(["data=noisy", "data@data.base=librispeech", "data.base.root=~/x"])
    assert config.base._target_ == "asteroid_stab.data.LibriSpeechCorpus"
    assert config.base.root.startswith("/")


def test_a_users_own_ingredient_is_found(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("_target_: my_pkg.Mine\nn_src: 4\nhalf: ${.n_src}\n")
    config = compose_data(["data=mine", "data.n_src=6"], tmp_path)
    assert dict(config) == {"_target_": "my_pkg.Mine", "n_src": 6, "half": 6}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=nosiy"], "group 'data' has no option 'nosiy' .did you mean 'noisy'"),
        (["data=toy", "data.n_tset=3"], "the config has no key 'data.n_tset' .did you mean 'data.n_test'"),
        (["data=toy", "data@data.base=toy"], "group 'data': Could not override 'data@data.base'"),
        (["data=toy", "data.n_src=${x}"], "data: Interpolation key 'x' not found"),
        (["data=null"], "group 'data' takes the name of an option, got none"),
    ],
)
def test_words_that_fit_no_corpus(words, message):
    with pytest.raises(StabError, match=message):
        compose_data(words)


@pytest.mark.parametrize(("words", "got"), [(["data=[a,b]"], r"\['a', 'b'\]"), (["data=a", "data=b"], "a, b")])
def test_one_corpus_is_chosen(words, got):
    with pytest.raises(StabError, match=f"data= takes the name of one corpus, got {got}"):
        chosen_corpus(words)
