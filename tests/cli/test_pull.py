"""asteroid-stab pull: nothing of a stranger is run, and nothing is left of what cannot be read."""

import pickle

import pytest
import torch
from hub_stand_in import hub_stand_in

from asteroid_stab.cli.main import main


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


class Hostile:
    def __reduce__(self):
        return (open, ("pwned.txt", "w"))


@pytest.mark.parametrize("make", [pickle.dumps, None])
def test_a_hostile_file_is_refused_unread(hub, tmp_path, monkeypatch, make, capsys):
    monkeypatch.chdir(tmp_path)
    if make is None:
        torch.save({"model_name": Hostile()}, tmp_path / "x.pth")
        content = (tmp_path / "x.pth").read_bytes()
    else:
        content = make(Hostile())
    hub.put("eve/a", {"best_model.pth": content})
    assert main(["pull", "eve/a", "--out", "out"]) == 2
    assert "is no readable model file" in capsys.readouterr().err
    assert not (tmp_path / "pwned.txt").exists()
    assert not (tmp_path / "out").exists()


def test_bad_input_is_refused(hub, tmp_path, capsys):
    assert main(["pull", "ann/none", "--out", str(tmp_path / "out")]) == 2
    assert "has no model 'ann/none'" in capsys.readouterr().err
    assert main(["pull", "ann/a", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} exists; --out DIR names another folder" in capsys.readouterr().err
    assert main(["pull", "ann/a@x", "--revision", "y", "--out", str(tmp_path / "out")]) == 2
    assert "one revision may be given" in capsys.readouterr().err
