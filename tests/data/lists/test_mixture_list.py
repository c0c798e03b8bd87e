"""Mixture lists: LibriMix's own load unchanged, ours come back as they were, and faults are named."""

import csv

import pytest

from asteroid_stab import atomic
from asteroid_stab.data.lists.mixture_list import MixtureList, read_mixture_list, write_mixture_list
from asteroid_stab.errors import StabError

TWO = MixtureList(
    names=["x", "y"],
    sources=[["a/1.flac", "b/2.flac"], ["c/3.flac", "d/4.flac"]],
    gains=[[0.5, 1.25], [1 / 3, 2e-7]],
    noises=["n/1.wav", "n/2.wav"],
    noise_gains=[0.75, 12.5],
)


@pytest.mark.parametrize("n_src", [2, 3])
@pytest.mark.parametrize("subset", ["dev-clean", "test-clean"])
def test_published_lists_load_unchanged(shared_data, n_src, subset):
    path = shared_data / f"LibriMix/metadata/Libri{n_src}Mix/libri{n_src}mix_{subset}.csv"
    mixtures = read_mixture_list(path)
    assert (len(mixtures), mixtures.n_src) == (3000, n_src)
    assert len(set(mixtures.names)) == 3000
    with open(path, newline="") as file:
        for i, row in enumerate(csv.DictReader(file)):
            assert mixtures.sources[i] == [row[f"source_{k + 1}_path"] for k in range(n_src)]
            assert mixtures.gains[i] == [float(row[f"source_{k + 1}_gain"]) for k in range(n_src)]
            assert (mixtures.noises[i], mixtures.noise_gains[i]) == (row["noise_path"], float(row["noise_gain"]))


def test_first_row_of_libri2mix(shared_data):
    mixtures = read_mixture_list(shared_data / "LibriMix/metadata/Libri2Mix/libri2mix_dev-clean.csv")
    assert mixtures.names[0] == "3536-8226-0026_1673-143397-0009"
    assert mixtures.sources[0][0] == "dev-clean/3536/8226/3536-8226-0026.flac"
    assert mixtures.gains[0] == [0.7925878276419455, 0.2142791008161834]
    assert mixtures.noises[0] == "cv/20oo0109_0.72115_01ua010r_-0.72115.wav"


def test_a_list_comes_back_as_it_was_written(tmp_path):
    write_mixture_list(TWO, tmp_path / "l.csv")
    back = read_mixture_list(tmp_path / "l.csv")
    assert (back.names, back.sources, back.noises) == (TWO.names, TWO.sources, TWO.noises)
    for got, wanted in zip([*back.gains, back.noise_gains], [*TWO.gains, TWO.noise_gains], strict=True):
        assert got == pytest.approx(wanted, rel=1e-9)
    head = (tmp_path / "l.csv").read_text().splitlines()[0]
    assert head == "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain"


def test_noise_may_be_absent_and_other_columns_are_ignored(tmp_path):
    (tmp_path / "l.csv").write_text("mixture_ID,source_1_path,speaker,source_1_gain\nx,a.flac,7,0.5\n")
    assert read_mixture_list(tmp_path / "l.csv") == MixtureList(["x"], [["a.flac"]], [[0.5]])


def test_rows_that_are_taken_keep_their_noise():
    assert TWO.take([1]) == MixtureList(["y"], [TWO.sources[1]], [TWO.gains[1]], ["n/2.wav"], [12.5])
    assert MixtureList(["x"], [["a"]], [[1.0]]).take([0]).noises == []


def test_ten_sources_and_more(tmp_path):
    """svoice#63: more than nine speakers break what expects one digit."""
    names = [f"s/{k}/u.flac" for k in range(12)]
    write_mixture_list(MixtureList(["x"], [names], [[0.1 * k for k in range(12)]]), tmp_path / "l.csv")
    assert read_mixture_list(tmp_path / "l.csv").sources == [names]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixture_ID,source_1_path\nx,a\n", "must have the columns source_1_gain;"),
        (
            "mixture_ID,source_2_path,source_2_gain\nx,a,1\n",
            "must have the columns source_1_path, source_1_gain;",
        ),
        ("mixture_ID,source_1_path,source_1_gain,noise_path\nx,a,1,n\n", "must have the columns noise_gain;"),
        ("", "must have columns and rows, it is empty"),
        ("a,b\n", "must have the columns mixture_ID, source_1_path, source_1_gain;"),
        ("mixture_ID,source_1_path,source_1_gain\n", "must have rows, got none"),
        ("mixture_ID,source_1_path,source_1_gain\nx,a,1\ny,,1\n", r"row 2 of .* must have a source_1_path"),
        ("mixture_ID,source_1_path,source_1_gain\nx,a\n", r"row 1 of .* must have a source_1_gain"),
        ("mixture_ID,source_1_path,source_1_gain\nx,a,loud\n", "source_1_gain must be a number, got 'loud'"),
        ("mixture_ID,source_1_path,source_1_gain\nx,a,nan\n", "source_1_gain must be a number, got 'nan'"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(StabError, match=message):
        read_mixture_list(path)


def test_no_list_and_no_text(tmp_path):
    with pytest.raises(StabError, match=r"no mixture list .*l\.csv; `asteroid-stab prepare` makes one"):
        read_mixture_list(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StabError, match=r"cannot read the mixture list .*l\.csv"):
        read_mixture_list(tmp_path / "l.csv")


def test_a_list_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "l.csv"
    write_mixture_list(TWO, path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_mixture_list(MixtureList(["z"], [["e"]], [[1.0]]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../x.flac", "/etc/x.flac", "a/../../x.flac"])
@pytest.mark.parametrize("column", ["source_1_path", "noise_path"])
def test_a_path_that_leads_out_of_the_corpus_is_refused(tmp_path, name, column):
    write_mixture_list(TWO, tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "a.csv").write_text(text.replace({"source_1_path": "c/3.flac", "noise_path": "n/2.wav"}[column], name))
    with pytest.raises(StabError, match=f"row 2 of the mixture list .*: {column} must be a path within the corpus"):
        read_mixture_list(tmp_path / "a.csv")
