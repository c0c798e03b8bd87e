"""Mixtures that others made: by a rule, by a table, and folders that are not whole."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from trees import RATE, array, write, wsj0_mix

from asteroid_stab.data import MixtureFilesCorpus, Wsj0MixCorpus
from asteroid_stab.data.corpora.mixture_files import listed_sources
from asteroid_stab.errors import StabError


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return wsj0_mix(tmp_path_factory.mktemp("wsj0"), n_src=3, n_mixtures=3)


def flat(tree, folder, n_src=3):
    """The test set in one folder, and a table of it."""
    lines = ["mixture_ID,source_2_path,source_1_path,source_3_path,mixture_path"]
    for i, file in enumerate(sorted((tree / "3speakers/wav8k/min/tt/mix").iterdir())):
        for role in ("mix", "s1", "s2", "s3"):
            folder.mkdir(exist_ok=True)
            shutil.copy(file.parents[1] / role / file.name, folder / f"talk {i}_{role}.wav")
        lines.append(f"item {i}," + ",".join(f"talk {i}_{role}.wav" for role in ("s2", "s1", "s3", "mix")))
    (folder / "list.csv").write_text("\n".join(lines))
    return folder


def test_rule_and_table_give_what_the_corpus_of_the_tree_gives(tree, tmp_path):
    theirs = Wsj0MixCorpus(str(tree), n_src=3).dataset("test")
    folder = flat(tree, tmp_path / "flat")
    sets = [
        MixtureFilesCorpus(str(tree / "3speakers/wav8k/min"), test_path="tt", n_src=3).dataset("test"),
        MixtureFilesCorpus(str(folder), mixture_path="{name}_mix.wav", source_path="{name}_s{j}.wav", n_src=3).dataset(
            "test"
        ),
        MixtureFilesCorpus(str(folder), test_path="list.csv", n_src=3).dataset("test"),
    ]
    assert [one.names[1] for one in sets] == [theirs.names[1], "talk 1", "item 1"]
    for ours in sets:
        assert (len(ours), ours.n_src, ours.has_mixtures) == (3, 3, True)
        for item in range(3):
            assert all(torch.equal(a, b) for a, b in zip(ours[item][:2], theirs[item][:2], strict=True))


def test_without_files_of_the_mixtures_they_are_sums(tree):
    place = str(tree / "3speakers/wav8k/min/tt")
    summed = MixtureFilesCorpus(place, mixture_path=None, n_src=3).dataset("test", 0.2, seed=1)
    mixture, sources, _ = summed[0]
    assert not summed.has_mixtures
    assert sources.shape == (3, 1600)
    assert torch.equal(mixture, sources.sum(0))


def test_one_source_needs_no_number(tree):
    corpus = MixtureFilesCorpus(str(tree / "3speakers/wav8k/min/tt"), source_path="s2/{name}.wav", n_src=1)
    assert corpus.dataset("test")[0][1].shape[0] == 1


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match=r"source_path must be a path with \{name\} and \{j\}"):
        MixtureFilesCorpus("x", source_path="s/{name}.wav")
    with pytest.raises(ValueError, match="n_src must be an integer of at least 1, got 0"):
        MixtureFilesCorpus("x", n_src=0)
    with pytest.raises(StabError, match="root is not set; set root=FOLDER to the folder of the mixtures"):
        MixtureFilesCorpus().dataset("test")
    with pytest.raises(StabError, match="train_path is not set; set train_path= to a folder in root, or to a table"):
        MixtureFilesCorpus("/").dataset("train")
    with pytest.raises(StabError, match="test_path must be a path within the corpus, got '../x'"):
        MixtureFilesCorpus("/", test_path="../x").dataset("test")


def test_folders_that_are_not_whole(tree, tmp_path):
    place = tmp_path / "tt"
    shutil.copytree(tree / "3speakers/wav8k/min/tt", place)
    with pytest.raises(StabError, match="mixtures of more sources than n_src=2: there is .*/s3/00a"):
        MixtureFilesCorpus(str(place)).dataset("test")
    with pytest.raises(StabError, match=r"tt has no files m/\{name\}.wav and s/\{name\}.wav .*mixture_path= and"):
        MixtureFilesCorpus(str(place), mixture_path="m/{name}.wav", source_path="s/{name}.wav", n_src=1).dataset("test")
    with pytest.raises(StabError, match="there is no folder .*/none: a folder of mixtures, or a table of them"):
        MixtureFilesCorpus(str(place), test_path="none").dataset("test")
    files = sorted((place / "s2").iterdir())
    files[0].unlink()
    write(files[1], np.zeros(10), RATE)
    soundfile.write(files[2], np.zeros(6400), 16_000)
    found = "3 of the 12 files of .* cannot be used: s2/00a.* is missing, s2/01a.* has 10 samples, its mixture 5700, "
    with pytest.raises(StabError, match=f"{found}s2/02a.* is sampled at 16000 Hz instead of 8000"):
        MixtureFilesCorpus(str(place), n_src=3).dataset("test")


def test_tables_that_are_none(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("mixture_path,source_1_path,source_3_path\na,b,c\n")
    with pytest.raises(StabError, match="must have the columns source_1_path, source_2_path, ...; it has"):
        listed_sources(table)
    table.write_text("mixture_path,source_1_path\na.wav,b.wav\n")
    with pytest.raises(StabError, match="list.csv has 1 sources in a mixture, but n_src=2 was asked for"):
        MixtureFilesCorpus(str(tmp_path), test_path="list.csv").dataset("test")
    with pytest.raises(StabError, match="2 of the 2 files of .* cannot be used: a.wav is missing, b.wav is missing"):
        MixtureFilesCorpus(str(tmp_path), test_path="list.csv", n_src=1).dataset("test")


def files(root, **kwargs):
    return MixtureFilesCorpus(str(root), "tr", "cv", "tt", **kwargs).dataset("train")


def test_several_microphones_in_the_chosen_order(tmp_path):
    root = array(tmp_path / "array", n_mics=3)
    mixed = soundfile.read(root / "tr" / "mix" / "01.wav", dtype="float32")[0].T
    for kwargs, channels in (
        ({}, [0, 1, 2]),
        ({"mics": [0, 2]}, [0, 2]),
        ({"mics": [2, 0], "ref_mic": 0}, [0, 2]),
        ({"ref_mic": 0}, [0, 1, 2]),
    ):
        data = files(root, **kwargs)
        mixture, sources, _ = data[1]
        assert (data.n_mics, [*mixture.shape], [*sources.shape]) == (len(channels), [len(channels), 5700], [2, 5700])
        np.testing.assert_array_equal(mixture, mixed[channels])
        np.testing.assert_allclose(sources.sum(0), mixture[0], atol=1e-4)  # 16 bits each


def test_sources_of_several_channels_are_taken_at_the_reference(tmp_path):
    root = array(tmp_path / "array", n_mics=3, images=True)
    data = files(root, mics=[0, 2], ref_mic=2)
    mixture, sources, _ = data[0]
    for j in (0, 1):
        image = soundfile.read(root / "tr" / f"s{j + 1}" / "00.wav", dtype="float32")[0]
        np.testing.assert_array_equal(sources[j], image[:, 2])
    summed = files(root, mics=[0, 2], ref_mic=2, mixture_path=None)
    assert (summed.n_mics, summed.has_mixtures) == (2, False)
    assert torch.allclose(summed[0][0], mixture, atol=1e-4)
    assert torch.equal(summed[0][0][0], sources.sum(0))
    crop = MixtureFilesCorpus(str(root), "tr", mics=[0, 2], ref_mic=2).dataset("train", 0.1, seed=3)
    start = next(i for i in range(5000) if torch.equal(mixture[:, i : i + 800], crop[0][0]))
    assert torch.equal(crop[0][1], sources[:, start : start + 800])


def test_one_microphone_is_bit_equal_to_files_of_one_channel(tmp_path):
    several, one = array(tmp_path / "array", n_mics=2), tmp_path / "one"
    for file in several.glob("*/*/*.wav"):
        samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
        write(one / file.relative_to(several), samples[:, 0], rate)
    sets = [files(several, mics=[0]), files(one), files(one, mics=[0], ref_mic=0)]
    assert [data.n_mics for data in sets] == [1, 1, 1]
    assert len({data.fingerprint for data in sets}) == 1
    for data in sets[1:]:
        for item in range(4):
            for ours, theirs in zip(data[item][:2], sets[0][item][:2], strict=True):
                assert torch.equal(ours, theirs)
                assert ours.shape == theirs.shape


def test_files_of_other_channels_are_named(tmp_path):
    root = array(tmp_path / "array", n_mics=2)
    with pytest.raises(StabError, match="mics must be of the 2 channels of the mixtures, from 0 to 1, got 2"):
        files(root, mics=[0, 2])
    with pytest.raises(ValueError, match=r"ref_mic must be one of mics=\[1\]"):
        files(root, mics=[1], ref_mic=0)
    write(root / "tr" / "s2" / "03.wav", np.zeros((7100, 2)), RATE)
    with pytest.raises(
        StabError, match="1 of the 12 files of .* cannot be used: s2/03.wav has 2 channels instead of 1"
    ):
        files(root)
    write(root / "tr" / "mix" / "02.wav", np.zeros((6400, 3)), RATE)
    write(root / "tr" / "s1" / "00.wav", np.zeros((5000, 3)), RATE)
    found = "s1/00.wav has 3 channels instead of 1 or 2, mix/02.wav has 3 channels instead of 2"
    with pytest.raises(StabError, match=f"2 of the 12 files of .* cannot be used: {found}"):
        files(root)
