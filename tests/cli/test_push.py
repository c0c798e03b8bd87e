"""asteroid-stab push: a folder, a repository, and what is refused before either."""

import pytest
import yaml
from hub_stand_in import TOKEN, hub_stand_in
from shared_runs import shared_run

from asteroid_stab.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("safetensors")
    return shared_run(tmp_path_factory.mktemp("push") / "run").root


def test_a_dry_run_writes_the_folder_and_asks_nothing_of_the_hub(run, tmp_path, monkeypatch, capsys):
    with hub_stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        assert main(["push", str(run), "ann/a", "--dry-run", "--out", str(tmp_path / "out")]) == 0
        assert hub.calls == []
    out = capsys.readouterr().out
    assert "paths of this machine and secrets are left out of the config: data.root, logger.note, run_dir" in out
    assert "no licence was given; --license NAME gives one" in out
    assert f"written to {tmp_path / 'out'}; nothing was sent" in out
    assert "# a\n" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / "examples").exists()  # sounds of a corpus go along only where they are asked for
    assert sorted(one.name for one in run.iterdir() if one.name.startswith(".")) == []


def test_a_run_is_sent_and_fetched_and_separates(run, tmp_path, monkeypatch, capsys):
    import numpy as np
    from huggingface_hub import constants
    from trees import write

    write(tmp_path / "x.wav", 0.1 * np.random.default_rng(0).standard_normal(8000, dtype=np.float32))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in takes large files by LFS
    with hub_stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert main(["push", str(run), "ann/a", "--private", "--license", "mit", "--sounds"]) == 0
        assert f"sent to {hub.address}/ann/a/commit/" in capsys.readouterr().out
        files = hub.at("ann/a", "main")[1]
        assert {"examples/mixture.wav", "examples/estimate_1.wav", "examples/estimate_2.wav"} < files.keys()
        assert yaml.safe_load(files["README.md"].split(b"---\n")[1])["license"] == "mit"
        assert main(["pull", "ann/a", "--out", str(tmp_path / "pulled")]) == 0
        assert "ConvTasNet at 8000 Hz" in capsys.readouterr().out
        here = {one.relative_to(tmp_path / "pulled").as_posix() for one in (tmp_path / "pulled").rglob("*.*")}
        assert here == files.keys()
        assert main(["separate", "hf://ann/a", str(tmp_path / "x.wav"), "--out", str(tmp_path / "est")]) == 0
    assert len(list((tmp_path / "est").glob("x_est*.wav"))) == 2


def test_a_run_folder_that_is_not_ones_own_is_sent(run, tmp_path, monkeypatch, capsys):
    """Nothing is written into it: the folder to send is made among the system's temporary ones."""
    from huggingface_hub import constants

    places = []
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("tempfile.gettempdir", lambda: places.append(1) or str(tmp_path))
    with hub_stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        before = run.stat().st_mtime_ns
        assert main(["push", str(run), "ann/b"]) == 0
        assert run.stat().st_mtime_ns == before
    assert places
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ann/a", "--dry-run"], "--dry-run writes the folder and sends nothing: --out DIR names the folder"),
        (["ann", "--out", "x", "--dry-run"], "a model on the hub is named user/name"),
        (["ann/a", "--license", "cc-by"], "--license must be one of apache-2.0, "),
        (["ann/a", "--dry-run", "--out", "."], "--out must be a new or an empty folder, got '.'"),
    ],
)
def test_bad_input_is_refused(run, words, message, capsys):
    assert main(["push", str(run), *words]) == 2
    assert message in capsys.readouterr().err


def test_no_run_and_a_missing_package_are_refused(run, tmp_path, monkeypatch, capsys):
    import sys

    words = ["ann/a", "--dry-run", "--out", str(tmp_path / "out")]
    assert main(["push", str(tmp_path), *words]) == 2
    assert "is no run folder" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert main(["push", str(run), *words]) == 2
    assert "pip install 'asteroid-stab[hub]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
