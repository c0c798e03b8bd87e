"""Every corpus: a split is prepared and read without the other splits' files, and is the same then."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import trees

import asteroid_stab.data
from asteroid_stab.data import (
    Corpus,
    DynamicCorpus,
    EscCorpus,
    LibriMixCorpus,
    LibriSpeechCorpus,
    MixtureDataModule,
    MixtureFilesCorpus,
    MultiTaskCorpus,
    NoisyCorpus,
    RoomsCorpus,
    SmsWsjCorpus,
    SpeechEscCorpus,
    SpeechFolders,
    ToyCorpus,
    VariableSourcesCorpus,
    WhamCorpus,
    WhamrCorpus,
    Wsj0MixCorpus,
)
from asteroid_stab.data.corpus import SPLITS
from asteroid_stab.errors import StabError

SUBSETS = dict(zip(SPLITS, ("train-clean-100", "dev-clean", "test-clean"), strict=True))
PARTS = dict(zip(SPLITS, ("tr", "cv", "tt"), strict=True))
FOLDS = {"train": "123", "valid": "4", "test": "5"}
SIZES = {"n_train": 6, "n_valid": 4, "n_test": 4}


def libri2mix(root, cache):
    return LibriSpeechCorpus(
        str(root / "speech"), list_root=str(root / "lists"), cache=str(cache),
        **{f"{split}_list": f"libri2mix_{subset}.csv" for split, subset in SUBSETS.items()},
    )  # fmt: skip


def libri1mix(root):
    return LibriMixCorpus(str(root / "libri1mix"), "train-360", task="enh_single", n_src=1)


def folders(root):
    return SpeechFolders(str(root / "speech"), *(SUBSETS[split] for split in SPLITS))


def noisy(root, cache, base=None):
    base = base or libri2mix(root, cache)
    return NoisyCorpus(base, str(root / "noise"), [PARTS[split] for split in SPLITS], cache_dir=str(cache), **SIZES)


MAKERS = {
    "DynamicCorpus": lambda root, cache: DynamicCorpus(libri2mix(root, cache), n_train=4),
    "EscCorpus": lambda root, cache: EscCorpus(str(root / "esc"), cache_dir=str(cache), **SIZES),
    "LibriMixCorpus": lambda root, cache: libri1mix(root),
    "LibriSpeechCorpus": libri2mix,
    "MixtureFilesCorpus": lambda root, cache: MixtureFilesCorpus(
        str(root / "wsj0" / "2speakers" / "wav8k" / "min"), *(PARTS[split] for split in SPLITS)
    ),
    "MultiTaskCorpus": lambda root, cache: MultiTaskCorpus(libri2mix(root, cache), noisy(root, cache, folders(root))),
    "NoisyCorpus": noisy,
    "RoomsCorpus": lambda root, cache: RoomsCorpus(
        libri2mix(root, cache), "whamr", 2, 2, 0.1, 0.1, 1, 1, 1, cache_dir=str(cache)
    ),
    "SmsWsjCorpus": lambda root, cache: SmsWsjCorpus(str(root / "sms_wsj")),
    "SpeechEscCorpus": lambda root, cache: SpeechEscCorpus(
        str(root / "esc"), str(root / "speech"), *(SUBSETS[split] for split in SPLITS), cache_dir=str(cache), **SIZES
    ),
    "SpeechFolders": lambda root, cache: folders(root),
    "ToyCorpus": lambda root, cache: ToyCorpus(n_utterances=1, **SIZES),
    "VariableSourcesCorpus": lambda root, cache: VariableSourcesCorpus(
        {"one": libri1mix(root), "two": libri2mix(root, cache)}
    ),
    "WhamCorpus": lambda root, cache: WhamCorpus(str(root / "wham")),
    "WhamrCorpus": lambda root, cache: WhamrCorpus(str(root / "whamr")),
    "Wsj0MixCorpus": lambda root, cache: Wsj0MixCorpus(str(root / "wsj0")),
}
NO_FILES = ("ToyCorpus",)
"""Corpora that are made of nothing that could be missing."""


@pytest.fixture(scope="module")
def all_trees(tmp_path_factory, esc):
    root = tmp_path_factory.mktemp("trees")
    trees.librispeech(root / "speech", SUBSETS.values(), n_utterances=1)
    trees.libri2mix_lists(root / "speech", root / "lists", SUBSETS.values())
    trees.noises(root / "noise", n_files=2)
    trees.wsj0_mix(root / "wsj0", n_mixtures=2)
    trees.wham(root / "wham", n_mixtures=2)
    trees.sms_wsj(root / "sms_wsj", n_mixtures=2, n_mics=2)
    trees.whamr(root / "whamr", n_mics=2, n_mixtures=2)
    trees.libri1mix(root / "libri1mix", n_mixtures=2)
    shutil.copytree(esc, root / "esc")
    return root


def files_of(root, split):
    """All files that belong to a split alone."""
    names = {SUBSETS[split], PARTS[split], {"train": "train-360", "valid": "dev", "test": "test"}[split]}
    names.add({"train": "train_si284", "valid": "cv_dev93", "test": "test_eval92"}[split])
    for file in root.rglob("*"):
        of_folder = names & {*file.relative_to(root).parts}
        of_list = file.stem in {f"libri2mix_{SUBSETS[split]}", *(f"mixture_{one}_mix_single" for one in names)}
        of_fold = file.parent.name == "audio" and file.name[0] in FOLDS[split]
        if file.is_file() and (of_folder or of_list or of_fold):
            yield file


@pytest.fixture(scope="module")
def with_one_split(all_trees, tmp_path_factory):
    """The trees with the files of one split alone."""
    made = {}

    def make(split):
        if split not in made:
            made[split] = tmp_path_factory.mktemp(f"only-{split}")
            shutil.copytree(all_trees, made[split], dirs_exist_ok=True)
            for file in made[split].rglob("mixture_*.csv"):  # LibriMix's lists have the paths of whole files
                file.write_text(file.read_text().replace(str(all_trees), str(made[split])))
            for other in {*SPLITS} - {split}:
                for file in files_of(made[split], other):
                    file.unlink()
            for folder in sorted(made[split].rglob("*"), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        return made[split]

    return make


def contents(source, split):
    """Items of a split (or utterances, of what has no mixtures), with what they are called."""
    if not isinstance(source, Corpus):
        found = source.utterances(split)
        return found.names, [found.read(i, 0, 100) for i in range(len(found.names))]
    data = source.dataset(split, 0.5, seed=1)
    return [data.fingerprint, *data.names], [signal for i in range(len(data)) for signal in data[i][:2]]


def same(one, other):
    return one[0] == other[0] and all(np.array_equal(a, b) for a, b in zip(one[1], other[1], strict=True))


def files_in(cache):
    return {
        file.name: file.stat().st_mtime_ns
        for file in Path(cache).glob("*")
        if file.is_file() and file.suffix != ".sums"
    }


def test_every_corpus_is_here():
    assert sorted(MAKERS) == sorted(asteroid_stab.data._MODULES)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", MAKERS)
def test_a_split_needs_no_files_of_another(all_trees, with_one_split, tmp_path, name, split):
    alone = MAKERS[name](with_one_split(split), tmp_path / "alone")
    alone.prepare([split])
    prepared = files_in(tmp_path / "alone")
    found = contents(alone, split)
    assert files_in(tmp_path / "alone") == prepared  # all was made that is needed
    assert len(found[1]) >= 2
    assert same(found, contents(MAKERS[name](all_trees, tmp_path / "whole"), split))


@pytest.mark.parametrize("name", sorted({*MAKERS} - {*NO_FILES}))
def test_its_own_files_are_needed_and_checked(with_one_split, tmp_path, name):
    for asked, there in (("train", "test"), ("valid", "train"), ("test", "valid")):
        with pytest.raises(StabError, match=r"there is no|missing|has no|must hold|cannot be used"):
            contents(MAKERS[name](with_one_split(there), tmp_path / there), asked)


@pytest.mark.parametrize("name", sorted({*MAKERS} - {"SpeechFolders", "DynamicCorpus"}))
def test_an_evaluation_makes_its_own_split_alone(with_one_split, tmp_path, name):
    corpus = MAKERS[name](with_one_split("test"), tmp_path)
    module = MixtureDataModule(corpus, 0.5)
    assert module.test_dataset("test").segment is None
    made = files_in(tmp_path)
    corpus.prepare(["test"])
    assert files_in(tmp_path) == made


def test_a_training_prepares_both_of_its_splits(all_trees, tmp_path):
    """As before: one pack for each list, made before several processes would need them."""
    data = MixtureDataModule(libri2mix(all_trees, tmp_path / "fit"), 0.5, batch_size=1)
    data.prepare_data()
    both = files_in(tmp_path / "fit")
    assert len(both) == 2
    data.setup("fit")
    assert files_in(tmp_path / "fit") == both
    data.prepare_data("validate")
    assert files_in(tmp_path / "fit") == both
