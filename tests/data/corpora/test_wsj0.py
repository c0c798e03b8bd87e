"""WSJ0-mix and WHAM! on disk: what Asteroid reads, under ids and in our crops; trees that are not whole."""

import json
import pickle
import shutil

import numpy as np
import pytest
import soundfile
import torch
from asteroid.data import WhamDataset, WhamRDataset, Wsj0mixDataset
from trees import RATE, wham, whamr, write, wsj0_mix

from asteroid_stab.data import WhamCorpus, WhamrCorpus, Wsj0MixCorpus
from asteroid_stab.data.dataset import crop_start
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import build, check_config
from asteroid_stab.run.compose import compose_recipe

TASKS = [("sep_clean", 2), ("sep_noisy", 2), ("enh_single", 1), ("enh_both", 1)]


@pytest.fixture(scope="module")
def wsj0_2mix(tmp_path_factory):
    return wsj0_mix(tmp_path_factory.mktemp("wsj0-mix"))


@pytest.fixture(scope="module")
def wham_tree(tmp_path_factory):
    return wham(tmp_path_factory.mktemp("wham"))


def json_lists(part, folder):
    """Asteroid's lists of a part's files, with their lengths."""
    for role in part.iterdir():
        files = [(str(path), soundfile.info(path).frames) for path in sorted(role.iterdir())]
        (folder / f"{role.name}.json").write_text(json.dumps(files))
    return str(folder)


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) == 4
    for item in range(4):
        assert torch.equal(ours[item][0], theirs[item][0])
        assert torch.equal(ours[item][1], theirs[item][1])
        assert ours[item][2] == item


@pytest.mark.parametrize(("split", "part"), [("train", "tr"), ("valid", "cv"), ("test", "tt")])
def test_whole_mixtures_are_asteroids(wsj0_2mix, tmp_path, split, part):
    theirs = Wsj0mixDataset(json_lists(wsj0_2mix / "2speakers/wav8k/min" / part, tmp_path), segment=None)
    ours = Wsj0MixCorpus(str(wsj0_2mix)).dataset(split)
    assert_same(ours, theirs)
    assert ours.names == [f"0{i}a_1.5_0{i}b_-1.5" for i in range(4)]
    assert torch.allclose(ours[3][0], ours[3][1].sum(0), atol=1e-4)


@pytest.mark.parametrize(("task", "n_src"), TASKS)
def test_whams_tasks_are_asteroids(wham_tree, tmp_path, task, n_src):
    theirs = WhamDataset(json_lists(wham_tree / "wav8k/min/tr", tmp_path), task, segment=None)
    assert_same(WhamCorpus(str(wham_tree), task, n_src=n_src).dataset("train"), theirs)


def test_crops_are_slices_read_alone(wsj0_2mix, monkeypatch):
    corpus = Wsj0MixCorpus(str(wsj0_2mix))
    crops, whole = corpus.dataset("train", 0.7, seed=3), corpus.dataset("train")
    assert (len(crops), crops.n_short) == (3, 1)
    lengths = []
    read = soundfile.SoundFile.read

    def counted(self, frames, **kwargs):
        lengths.append(frames)
        return read(self, frames, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    for epoch in (0, 5):
        for item in range(3):
            start = crop_start(3, epoch, item, crops.lengths[item], 5600)
            mixture, sources, _ = crops[(epoch, item)]
            assert set(lengths) == {5600}
            assert len(lengths) == 3
            assert torch.equal(mixture, whole[item + 1][0][start : start + 5600])
            assert torch.equal(sources, whole[item + 1][1][:, start : start + 5600])
            lengths.clear()
    assert pickle.loads(pickle.dumps(crops))[0][0].equal(crops[0][0])


def test_the_folder_of_one_number_of_speakers_is_found_as_well(wsj0_2mix):
    below = Wsj0MixCorpus(str(wsj0_2mix / "2speakers")).dataset("test")
    above = Wsj0MixCorpus(str(wsj0_2mix)).dataset("test")
    assert below.fingerprint == above.fingerprint
    assert below[0][0].equal(above[0][0])


def test_three_speakers(tmp_path):
    wsj0_mix(tmp_path, 3)
    mixture, sources, _ = Wsj0MixCorpus(str(tmp_path), n_src=3).dataset("test")[0]
    assert sources.shape == (3, 5000)
    assert torch.allclose(mixture, sources.sum(0), atol=1e-4)
    with pytest.raises(StabError, match="tt has mixtures of more speakers than n_src=2: there is s3"):
        Wsj0MixCorpus(str(tmp_path / "3speakers")).dataset("test")


def test_other_rate_and_mode(tmp_path):
    wsj0_mix(tmp_path, rate=16_000)
    (tmp_path / "2speakers/wav8k/min").rename(tmp_path / "2speakers/wav8k/max")
    (tmp_path / "2speakers/wav8k").rename(tmp_path / "2speakers/wav16k")
    dataset = Wsj0MixCorpus(str(tmp_path), mode="max", sample_rate=16_000).dataset("test")
    assert (len(dataset), dataset.sample_rate) == (4, 16_000)


def test_all_that_cannot_be_used_is_counted_and_three_are_named(tmp_path):
    part = wsj0_mix(tmp_path) / "2speakers/wav8k/min/tr"
    names = sorted(path.name for path in (part / "mix").iterdir())
    (part / "s2" / names[0]).unlink()
    write(part / "s1" / names[1], np.zeros(5700), 16_000)
    write(part / "s2" / names[1], np.zeros((5700, 2)))
    write(part / "s1" / names[2], np.zeros(6399))
    write(part / "mix" / names[3], np.zeros(0))
    write(part / "s1" / "stranger.wav", np.zeros(100))
    with pytest.raises(StabError) as caught:
        Wsj0MixCorpus(str(tmp_path)).dataset("train")
    first = [
        f"s2/{names[0]} is missing",
        f"s1/{names[1]} is sampled at 16000 Hz instead of 8000",
        f"s2/{names[1]} has 2 channels instead of 1",
    ]
    # The rest: s1 of 2 is shorter; mix of 3 is empty, s1 and s2 of it are longer; the stranger has no mix and no s2.
    assert str(caught.value) == f"9 of the 15 files of {part} cannot be used: {', '.join(first)}, ..."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part, n: write(part / "s1" / n, np.zeros(4999)), "1 of the 12 .*s1/{n} has 4999 samples, its mix"),
        (lambda part, n: [write(part / r / n, np.zeros(0)) for r in ("mix", "s1", "s2")], "3 of .*mix/{n} has no sam"),
        (lambda part, n: (part / "mix" / n).unlink(), "1 of the 12 .*: mix/{n} is missing$"),
        (lambda part, n: (part / "s2" / n).write_bytes(b"no audio" * 99), "cannot read the audio file .*s2/{n}"),
    ],
)
def test_each_fault_is_told(tmp_path, change, message):
    part = wsj0_mix(tmp_path) / "2speakers/wav8k/min/tr"
    name = sorted(path.name for path in (part / "mix").iterdir())[0]
    change(part, name)
    with pytest.raises(StabError, match=message.format(n=name)):
        Wsj0MixCorpus(str(tmp_path)).dataset("train")


def test_trees_that_are_not_there(tmp_path, wsj0_2mix, wham_tree):
    with pytest.raises(StabError, match=r"^root is not set; set root=FOLDER to the WSJ0-3mix folder$"):
        Wsj0MixCorpus(n_src=3).dataset("test")
    looked = f"{wsj0_2mix}/3speakers/wav8k/min nor {wsj0_2mix}/wav8k/min"
    with pytest.raises(
        StabError, match=f"^root: there is no folder {looked}; set root=FOLDER to the WSJ0-3mix folder$"
    ):
        Wsj0MixCorpus(str(wsj0_2mix), n_src=3).dataset("test")
    with pytest.raises(
        StabError, match=f"^root: there is no folder {wham_tree}/wav16k/min; set root=FOLDER to the WHAM! "
    ):
        WhamCorpus(str(wham_tree), sample_rate=16_000).dataset("test")
    tree = wsj0_mix(tmp_path) / "2speakers/wav8k/min"
    (tree / "cv").rename(tree / "dev")
    with pytest.raises(StabError, match=f"WSJ0-2mix has no {tree}/cv: its generator makes tr, cv and tt"):
        Wsj0MixCorpus(str(tmp_path)).dataset("valid")
    (tree / "tt/s2").rename(tree / "tt/s3")
    with pytest.raises(StabError, match="tt has mixtures of more speakers"):
        Wsj0MixCorpus(str(tmp_path)).dataset("test")
    (tree / "tt/s3").rename(tree / "tt/two")
    with pytest.raises(StabError, match=f"there is no folder {tree}/tt/s2"):
        Wsj0MixCorpus(str(tmp_path)).dataset("test")
    (tree / "tt/s2").mkdir()
    with pytest.raises(StabError, match=f"{tree}/tt/s2 must hold .wav or .flac files, got none"):
        Wsj0MixCorpus(str(tmp_path)).dataset("test")
    (tree / "tt/s2/s2").mkdir()
    with pytest.raises(StabError, match=f"{tree}/tt/s2 must hold .wav or .flac files, got the folders s2"):
        Wsj0MixCorpus(str(tmp_path)).dataset("test")


def test_suffixes_in_any_case_and_flac_are_the_same_mixtures(wsj0_2mix, tmp_path):
    tree = shutil.copytree(wsj0_2mix / "2speakers/wav8k/min", tmp_path / "wav8k/min")
    for i, path in enumerate(sorted((tree / "tt").rglob("*.wav"))):
        if i % 3 == 0:
            path.rename(path.with_suffix(".WAV"))
        elif i % 3 == 1:
            soundfile.write(path.with_suffix(".Flac"), *soundfile.read(path, dtype="int16"), format="FLAC")
            path.unlink()
    ours, theirs = (Wsj0MixCorpus(str(root)).dataset("test") for root in (tmp_path, wsj0_2mix))
    assert ours.fingerprint == theirs.fingerprint
    assert_same(ours, theirs)
    twice = next(iter((tree / "tt/s1").iterdir()))
    shutil.copy(twice, twice.with_suffix(".wAV"))
    with pytest.raises(StabError, match=f"tt/s1 must have one file of each name, got {twice.stem}.* and {twice.stem}"):
        Wsj0MixCorpus(str(tmp_path)).dataset("test")


def test_ids_keep_the_order_of_the_file_names(wsj0_2mix, tmp_path):
    """A hyphen comes before the dot of ``.wav``, so that names without suffix have another order."""
    tree = shutil.copytree(wsj0_2mix / "2speakers/wav8k/min", tmp_path / "wav8k/min")
    for role in (tree / "tt").iterdir():
        first, second, *_ = sorted(role.iterdir())
        first.rename(role / "a.wav")
        second.rename(role / "a-b.wav")
    assert Wsj0MixCorpus(str(tmp_path)).dataset("test").names[-2:] == ["a-b", "a"]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Wsj0MixCorpus, {"n_src": 4}, "n_src must be 2 or 3, the speakers that WSJ0-mix has, got 4"),
        (Wsj0MixCorpus, {"mode": "mix"}, "mode must be one of min, max, got 'mix'"),
        (Wsj0MixCorpus, {"sample_rate": RATE + 1}, "sample_rate must be 8000 or 16000, got 8001"),
        (WhamCorpus, {"task": "sep_noise"}, r"task must be one of .*, got 'sep_noise' \(did you mean 'sep_noisy'\?\)"),
        (WhamCorpus, {"task": "enh_single"}, "n_src must be 1 for task enh_single, got 2"),
        (WhamCorpus, {"n_src": 3}, "n_src must be 2 for task sep_noisy, got 3"),
    ],
)
def test_arguments_out_of_range(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind("root", **options)


@pytest.mark.parametrize("kind", ["wsj0_mix", "wham"])
def test_configs(kind, wsj0_2mix, wham_tree):
    root = wsj0_2mix if kind == "wsj0_mix" else wham_tree
    config = compose_recipe("baseline/libri2mix_convtasnet", [f"data={kind}", f"data.root={root}", "seed=5"])
    check_config(config.data)
    corpus = build(config.data)
    assert [len(corpus.dataset(split, 0.5)) for split in ("train", "valid", "test")] == [4, 4, 4]
    data = build(config.loader, corpus)
    assert (data.seed, data.segment_s, data.batch_size) == (5, 3.0, 24)  # the recipe's


@pytest.mark.parametrize("task", ["sep_clean", "sep_noisy", "sep_reverb", "sep_reverb_noisy"])
def test_whamrs_tasks_are_asteroids(tmp_path, task):
    root = whamr(tmp_path / "whamr")
    (tmp_path / "lists").mkdir()
    theirs = WhamRDataset(json_lists(root / "wav8k/min/tr", tmp_path / "lists"), task, segment=None)
    assert_same(WhamrCorpus(str(root), task).dataset("train"), theirs)


@pytest.mark.parametrize("target", ["anechoic", "reverb"])
def test_whamr_with_two_microphones(tmp_path, target):
    root = whamr(tmp_path / "whamr", n_mics=2)
    folder = root / "wav8k" / "min" / "cv"
    name = "01a_1.5_01b_-1.5"

    def channel(role, mic):
        return torch.from_numpy(soundfile.read(folder / role / f"{name}.wav", dtype="float32")[0][:, mic].copy())

    for mics, ref_mic, order in ((None, None, [0, 1]), (None, 1, [1, 0]), ([1], None, [1])):
        corpus = WhamrCorpus(str(root), target=target, mics=mics, ref_mic=ref_mic)
        assert corpus.references == target
        data = corpus.dataset("valid")
        assert data.n_mics == len(order)
        mixture, sources, _ = data[data.names.index(name)]
        assert torch.equal(mixture.reshape(len(order), -1), torch.stack([channel("mix_both_reverb", m) for m in order]))
        for j in (0, 1):
            assert torch.equal(sources[j], channel(f"s{j + 1}_{target}", order[0]))
    single = WhamrCorpus(str(root), "enh_single_reverb", target, n_src=1, mics=[0]).dataset("valid")
    assert torch.equal(single[1][0], channel("mix_single_reverb", 0))
    assert single[1][1].shape == (1, 5700)
    with pytest.raises(StabError, match="mics must be of the 2 channels of the mixtures, from 0 to 1, got 2"):
        WhamrCorpus(str(root), mics=[0, 2]).dataset("valid")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sep_revreb"}, r"task must be one of sep_clean, .*got 'sep_revreb' \(did you mean 'sep_reverb'\?\)"),
        ({"target": "dry"}, "target must be one of anechoic, reverb, got 'dry'"),
        (
            {"task": "sep_noisy", "target": "reverb"},
            "target must be anechoic for task sep_noisy, whose mixtures are in no",
        ),
        ({"task": "enh_single_reverb"}, "n_src must be 1 for task enh_single_reverb, got 2"),
        ({"n_src": 1}, "n_src must be 2 for task sep_reverb_noisy, got 1"),
        ({"ref_mic": "left"}, "ref_mic must be a channel from 0, or null for the first, got 'left'"),
    ],
)
def test_whamr_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        WhamrCorpus("x", **options)
