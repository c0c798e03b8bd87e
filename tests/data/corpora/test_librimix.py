"""LibriMix on disk: what Asteroid reads, under ids and in our crops, and folders that are not whole."""

import pickle
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from trees import libri1mix

from asteroid_stab.data import LibriMixCorpus, MixtureDataModule
from asteroid_stab.data.corpora.librimix import LibriMix
from asteroid_stab.data.dataset import crop_start
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import check_config

RATE = 8000
KINDS = {"clean": ("s1", "s2"), "both": ("s1", "s2", "noise"), "single": ("s1", "noise")}


def generate(root, subset, n_mixtures=4, n_src=2, seed=0):
    """A subset in the layout of LibriMix's generator; the mixtures' lengths differ."""
    rng = np.random.default_rng(seed)
    folder = root / "wav8k/min"
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    sources = [f"s{k + 1}" for k in range(n_src)]
    tables = {kind: [] for kind in KINDS}
    for i in range(n_mixtures):
        name, length = f"{subset}-{i}-0_{i}-1", 5000 + 700 * i
        signals = {part: 0.1 * rng.standard_normal(length) for part in [*sources, "noise"]}
        signals |= {
            "mix_clean": sum(signals[s] for s in sources),
            "mix_both": sum(signals[s] for s in [*sources, "noise"]),
            "mix_single": signals["s1"] + signals["noise"],
        }
        paths = {}
        for part, signal in signals.items():
            paths[part] = folder / subset / part / f"{name}.wav"
            paths[part].parent.mkdir(parents=True, exist_ok=True)
            sf.write(paths[part], signal, RATE)
        for kind, rows in tables.items():
            listed = {f"source_{k + 1}_path": paths[s] for k, s in enumerate(sources) if kind != "single" or not k}
            rows.append({"mixture_ID": name, "mixture_path": paths[f"mix_{kind}"], **listed, "length": length})
    for kind, rows in tables.items():
        path = folder / f"metadata/mixture_{subset}_mix_{kind}.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        (folder / f"metadata/metrics_{subset}_mix_{kind}.csv").write_text("mixture_ID,source_1_SNR\n")
    return folder


@pytest.fixture(scope="module")
def libri2mix(tmp_path_factory):
    root = tmp_path_factory.mktemp("Libri2Mix")
    for seed, subset in enumerate(("dev", "train-100", "test")):
        generate(root, subset, seed=seed)
    return root


def alone(root, subset, kinds, tmp_path):
    """A folder with these lists alone, as Asteroid needs it."""
    for kind in kinds:
        name = f"mixture_{subset}_mix_{kind}.csv"
        (tmp_path / name).write_bytes((root / "wav8k/min/metadata" / name).read_bytes())
    return str(tmp_path)


@pytest.mark.parametrize(
    ("task", "n_src", "kinds"),
    [
        ("sep_clean", 2, ["clean"]),
        ("sep_noisy", 2, ["both"]),
        ("enh_single", 1, ["single"]),
        ("enh_both", 1, ["both", "clean"]),
    ],
)
@pytest.mark.parametrize(("split", "subset"), [("train", "train-100"), ("valid", "dev"), ("test", "test")])
def test_whole_mixtures_are_asteroids(libri2mix, tmp_path, task, n_src, kinds, split, subset):
    theirs = LibriMix(alone(libri2mix, subset, kinds, tmp_path), task=task, sample_rate=RATE, n_src=n_src, segment=None)
    ours = LibriMixCorpus(str(libri2mix), task=task, n_src=n_src).dataset(split)
    assert ours.names == [f"{subset}-{i}-0_{i}-1" for i in range(4)]
    for item in range(4):
        mixture, sources = theirs[item]
        assert torch.equal(ours[item][0], mixture)
        assert torch.equal(ours[item][1], sources)
        assert ours[item][2] == item


def test_crops_are_slices_and_leave_the_global_generator_alone(libri2mix):
    corpus = LibriMixCorpus(str(libri2mix))
    crops, whole = corpus.dataset("train", 0.7, seed=3), corpus.dataset("train")
    assert (len(crops), crops.n_short) == (3, 1)
    state = random.getstate()
    for epoch in (0, 5):
        for item in range(3):
            start = crop_start(3, epoch, item, crops.lengths[item], 5600)
            mixture, sources, _ = crops[(epoch, item)]
            assert torch.equal(mixture, whole[item + 1][0][start : start + 5600])
            assert torch.equal(sources, whole[item + 1][1][:, start : start + 5600])
    assert random.getstate() == state


def test_loaders_and_workers(libri2mix):
    batches = []
    for n_workers in (0, 1):
        data = MixtureDataModule(LibriMixCorpus(str(libri2mix)), 0.5, batch_size=2, num_workers=n_workers)
        data.setup("fit")
        batches.append([*data.train_dataloader(), *data.val_dataloader()])
    for one, other in zip(*batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    restored = pickle.loads(pickle.dumps(data.train_set))
    assert torch.equal(restored[0][0], data.train_set[0][0])


def test_three_sources(tmp_path):
    generate(tmp_path, "test", n_src=3)
    mixtures = LibriMixCorpus(str(tmp_path), n_src=3).dataset("test")
    mixture, sources, _ = mixtures[0]
    assert sources.shape == (3, 5000)
    assert torch.allclose(mixture, sources.sum(0), atol=3 / 32_768)
    with pytest.raises(StabError, match="has 3 sources in a mixture, but n_src=2 was asked for"):
        LibriMixCorpus(str(tmp_path), n_src=2).dataset("test")


def test_libri1mix(tmp_path):
    """The generator's tree for one speaker: no list but that of the speaker in noise."""
    corpus = LibriMixCorpus(str(libri1mix(tmp_path)), train_subset="train-360", task="enh_single", n_src=1)
    train, test = corpus.dataset("train", 0.7), corpus.dataset("test")
    assert (len(train), train.n_short) == (3, 1)
    mixture, sources, _ = test[0]
    noise, _ = sf.read(tmp_path / "wav8k/min/test/noise" / f"{test.names[0]}.wav", dtype="float32")
    assert sources.shape == (1, 5000)
    assert torch.allclose(mixture, sources[0] + torch.from_numpy(noise), atol=1e-4)
    with pytest.raises(StabError, match="there is no .*mixture_train-100_mix_single.csv"):
        LibriMixCorpus(str(tmp_path), task="enh_single", n_src=1).dataset("train")


def test_a_folder_that_was_moved_is_found(tmp_path, caplog):
    generate(tmp_path / "old", "test")
    (tmp_path / "old").rename(tmp_path / "new")
    with caplog.at_level("INFO"):
        mixtures = LibriMixCorpus(str(tmp_path / "new")).dataset("test")
    assert len(mixtures[0][0]) == 5000
    assert f"names 12 files where they are not; took them from {tmp_path / 'new/wav8k/min'}" in caplog.text


def test_a_folder_whose_lists_windows_wrote_is_found(tmp_path):
    folder = generate(tmp_path, "test")
    tables = [table for table in (folder / "metadata").glob("*.csv") if f",{folder}/test/" in table.read_text()]
    assert tables
    for table in tables:
        text = table.read_text()
        table.write_text(text.replace(f"{folder}/", "D:/LibriMix/").replace("/", "\\"))
    assert len(LibriMixCorpus(str(tmp_path)).dataset("test")[0][0]) == 5000


@pytest.mark.parametrize("task", ["sep_clean", "enh_both"])
def test_half_a_folder_is_not_taken_as_whole(tmp_path, task):
    """LibriMix#28, #14, #17: folders of which the generator wrote a part."""
    folder = generate(tmp_path, "test")
    data = LibriMixCorpus(str(tmp_path), task=task, n_src=1 if task == "enh_both" else 2)
    n_files = 8 if task == "enh_both" else 12
    gone, cut = folder / "test/mix_clean/test-1-0_1-1.wav", folder / "test/mix_clean/test-3-0_3-1.wav"
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-200])
    message = rf"2 of the {n_files} files of .*: {gone} is missing, cannot use the audio file {cut}: truncated"
    with pytest.raises(StabError, match=message):
        data.dataset("test")


def test_tables_that_other_programs_wrote_are_the_same_mixtures(tmp_path):
    """A byte order mark, line ends of another system, further columns and an empty line; names like numbers."""
    folder = generate(tmp_path, "test")
    table = folder / "metadata/mixture_test_mix_clean.csv"
    text = table.read_text().replace("test-0-0_0-1,", "007,")
    table.write_text(text)
    plain = LibriMixCorpus(str(tmp_path)).dataset("test")
    assert plain.names[0] == "007"
    lines = [f"{line},{i or 'note'}" for i, line in enumerate(text.splitlines())]
    table.write_bytes(("\ufeff" + "\r\n".join([*lines, "", ""])).encode())
    other = LibriMixCorpus(str(tmp_path)).dataset("test")
    assert other.fingerprint == plain.fingerprint
    for item in range(4):
        assert other[item][0].equal(plain[item][0])
        assert other[item][1].equal(plain[item][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "must have columns and rows, it is empty"),
        (lambda text: text.splitlines()[0] + "\n", "must have rows, got none"),
        (lambda text: text.replace("length", "size"), "must have the columns length; it has"),
        (lambda text: text.replace(",5700", ","), "row 2 of .* must have a length, got nothing"),
        (lambda text: text.replace(",5700", ",5700,9"), "row 2 of .* must have 5 cells, got 6: '9' has no column"),
        (lambda text: text.replace(",5700", ",long"), "row 2 of .*: length must be a number, got 'long'"),
    ],
)
def test_faults_of_a_list_are_named(tmp_path, change, message):
    table = generate(tmp_path, "test") / "metadata/mixture_test_mix_clean.csv"
    table.write_text(change(table.read_text()))
    with pytest.raises(StabError, match=message):
        LibriMixCorpus(str(tmp_path)).dataset("test")


def test_two_lists_of_other_mixtures_are_refused(tmp_path):
    """Asteroid takes the targets of enh_both by their row in the other list."""
    folder = generate(tmp_path, "test")
    table = folder / "metadata/mixture_test_mix_clean.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *rows[::-1]]) + "\n")
    with pytest.raises(StabError, match="must have the same mixtures in the same order"):
        LibriMixCorpus(str(tmp_path), task="enh_both", n_src=1).dataset("test")


def test_a_folder_without_its_list_is_not_whole(tmp_path):
    folder = generate(tmp_path, "test")
    (folder / "metadata/mixture_test_mix_clean.csv").unlink()
    with pytest.raises(StabError, match=r"there is no .*mixture_test_mix_clean\.csv; .* may not have finished"):
        LibriMixCorpus(str(tmp_path)).dataset("test")


def test_files_that_change_after_the_start_are_named(tmp_path):
    folder = generate(tmp_path, "test")
    mixtures = LibriMixCorpus(str(tmp_path)).dataset("test")
    sf.write(folder / "test/s1/test-0-0_0-1.wav", np.zeros(100), RATE)
    (folder / "test/s2/test-1-0_1-1.wav").write_bytes(b"no audio")
    for item in (0, 1):
        with pytest.raises(StabError, match=rf"cannot decode .*mix_clean/test-{item}-0_{item}-1\.wav or its sources"):
            mixtures[item]


def test_wrong_sample_rate(tmp_path):
    folder = generate(tmp_path, "test")
    sf.write(folder / "test/s2/test-0-0_0-1.wav", np.zeros(5000), 16_000)
    with pytest.raises(StabError, match=r"s2/test-0-0_0-1\.wav must be sampled at 8000 Hz, got 16000 Hz"):
        LibriMixCorpus(str(tmp_path)).dataset("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sep_clear"}, r"task must be one of .*, got 'sep_clear' \(did you mean 'sep_clean'\?\)"),
        ({"mode": "mix"}, "mode must be one of min, max, got 'mix'"),
        ({"sample_rate": 44_100}, "sample_rate must be 8000 or 16000, got 44100"),
        ({"task": "enh_both"}, "n_src must be 1 for task enh_both, got 2"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LibriMixCorpus("Libri2Mix", **options)


def test_where_librimix_is_must_be_said(libri2mix):
    with pytest.raises(
        StabError, match=r"^root is not set; set root=FOLDER to LibriMix: the folder that holds wav8k or"
    ):
        LibriMixCorpus().dataset("test")
    with pytest.raises(StabError, match=r"^root: there is no folder .*wav16k/min; set root=FOLDER to LibriMix: the"):
        LibriMixCorpus(str(libri2mix), sample_rate=16_000).dataset("test")


def test_config(libri2mix):
    conf = Path(__file__).resolve().parents[3] / "conf"
    with initialize_config_dir(str(conf), version_base=None):
        config = compose("train", ["data=librimix", f"data.root={libri2mix}"])
    check_config(config.data)
    data = instantiate(config.data)
    assert isinstance(data, LibriMixCorpus)
    assert [len(data.dataset(split, 0.5)) for split in ("train", "valid", "test")] == [4, 4, 4]
    assert data.subsets == {"train": "train-100", "valid": "dev", "test": "test"}
