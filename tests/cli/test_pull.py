"""asteroid-stab pull: nothing of a stranger is run, and nothing is left of what cannot be read."""

import pickle

import pytest
import torch
from hub_stand_in import hub_stand_in
from shared_runs import CONV

from asteroid_stab.cli.main import main
from asteroid_stab.models import conv_tasnet, load_model, save_model


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


def test_a_large_model_is_refused_before_it_is_fetched(hub, tmp_path, capsys):
    hub.put("bob/a", {"best_model.pth": bytes(3000), "README.md": b"x" * 1096, "other.iso": bytes(10**6)})
    assert main(["pull", "bob/a", "--out", str(tmp_path / "out"), "--max-size", "3.5K"]) == 2
    assert "bob/a has 4 KB, more than --max-size 3.5 KB; a larger one fetches it" in capsys.readouterr().err
    assert not any(call.startswith("GET") and "best_model.pth" in call for call in hub.calls)
    assert main(["pull", "bob/a", "--out", str(tmp_path / "out"), "--max-size", "4K"]) == 2
    heard = capsys.readouterr()
    assert "fetches 4 KB\n" in heard.out
    assert "is no readable model file" in heard.err
    with pytest.raises(SystemExit):
        main(["pull", "bob/a", "--max-size", "much"])
    assert "must be a size such as 500M or 2G, got 'much'" in capsys.readouterr().err


def test_bad_input_is_refused(hub, tmp_path, capsys):
    assert main(["pull", "ann/none", "--out", str(tmp_path / "out")]) == 2
    assert "has no model 'ann/none'" in capsys.readouterr().err
    assert main(["pull", "ann/a", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} exists; --out DIR names another folder" in capsys.readouterr().err
    assert main(["pull", "ann/a@x", "--revision", "y", "--out", str(tmp_path / "out")]) == 2
    assert "one revision may be given" in capsys.readouterr().err


def model_file(tmp_path, **arguments):
    save_model(conv_tasnet(2, **CONV), tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    content["model_args"] |= arguments
    torch.save(content, tmp_path / "model.pth")
    return (tmp_path / "model.pth").read_bytes()


@pytest.mark.parametrize("both", [False, True])
def test_a_folder_of_plain_asteroids_user_is_one_that_separate_takes(hub, tmp_path, both):
    own = model_file(tmp_path)
    files = {"pytorch_model.bin": b"junk", "best_model.pth": own} if both else {"pytorch_model.bin": own}
    hub.put("bob/a", files)
    assert main(["pull", "bob/a", "--out", str(tmp_path / "out")]) == 0
    assert {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()} == {"best_model.pth": own}
    assert load_model(tmp_path / "out").sample_rate == 8000


def test_a_model_without_a_sample_rate_is_refused(hub, tmp_path, capsys):
    hub.put("bob/a", {"best_model.pth": model_file(tmp_path, sample_rate=None)})
    assert main(["pull", "bob/a", "--out", str(tmp_path / "out")]) == 2
    assert "the ConvTasNet has no sample rate, which a model that separates files must have" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["separate", str(tmp_path / "model.pth"), "x.wav"]) == 2
    assert "the ConvTasNet has no sample rate" in capsys.readouterr().err
