"""The folder of a shared model: whole, and without a place of this machine."""

import json

import pytest
import torch
import yaml
from shared_runs import PLACE, shared_run

from asteroid_stab.errors import StabError
from asteroid_stab.models import load_model
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.sharing.folder import shared_names, write_folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    run = shared_run(tmp_path_factory.mktemp("shared") / "run")
    folder = run.root.parent / "folder"
    folder.mkdir()
    emptied = write_folder(RunFolder(run.root), folder, "ann/two-voices", "test", "cc-by-4.0", sounds=True)
    return run, folder, emptied


def test_the_model_is_asteroids_and_the_weights_are_the_same(shared):
    safetensors = pytest.importorskip("safetensors.torch")
    run, folder, _ = shared
    assert (folder / "best_model.pth").read_bytes() == run.model.read_bytes()
    weights = safetensors.load_file(folder / "model.safetensors")
    own = load_model(folder).state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)


def test_no_file_names_a_place_of_this_machine(shared):
    _, folder, emptied = shared
    assert emptied == ["data.root", "logger.note", "run_dir"]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["root"] is None
    assert config["data"]["n_src"] == 2
    for file in folder.rglob("*.*"):
        assert PLACE.encode() not in file.read_bytes(), file.name


def test_the_files_are_those_that_pull_fetches(shared):
    from fnmatch import fnmatch

    names = {file.relative_to(shared[1]).as_posix() for file in shared[1].rglob("*") if file.is_file()}
    assert len(names) == 8
    assert all(any(fnmatch(name, pattern) for pattern in shared_names()) for name in names)


def test_the_metrics_are_the_evaluations(shared):
    kept = json.loads((shared[1] / "metrics.json").read_text())
    assert (kept["split"], kept["n"], kept["metrics"]["si_sdr_i"]["mean"]) == ("test", 4, 7.0)
    assert kept["metrics"]["si_sdr_i"]["p50"] is None  # the evaluation has none


@pytest.mark.parametrize("arguments", [{"args": {"files": ["a", f"{PLACE}/x.ckpt"]}}, {"args": {"files": {PLACE: 1}}}])
def test_a_model_whose_arguments_name_a_place_is_refused(tmp_path, monkeypatch, arguments):
    run = shared_run(tmp_path / "run", evaluated=False)
    model = load_model(run.model)
    model.get_model_args = lambda: arguments
    monkeypatch.setattr("asteroid_stab.sharing.folder.load_model", lambda path: model)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StabError, match="the model's argument args.files names a place of this machine"):
        write_folder(RunFolder(run.root), tmp_path / "folder", "a/b", "test", None)
    assert list((tmp_path / "folder").iterdir()) == []


def test_sounds_that_no_evaluation_kept_are_refused(tmp_path):
    run = shared_run(tmp_path / "run", evaluated=False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StabError, match="--sounds: no evaluation of this split has kept sounds in the run folder"):
        write_folder(RunFolder(run.root), tmp_path / "folder", "a/b", "test", None, sounds=True)
