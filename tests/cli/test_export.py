"""asteroid-stab export: the file, where it goes, and what is refused before it is written."""

import json
import sys

import pytest
import torch

from asteroid_stab import __version__
from asteroid_stab.cli.main import main
from asteroid_stab.models import LatentRefinementNet, conv_tasnet, save_model
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.sharing.export import METADATA

CONV = {"n_filters": 8, "n_blocks": 1, "n_repeats": 1, "bn_chan": 4, "hid_chan": 4, "skip_chan": 4}


@pytest.fixture
def model(tmp_path):
    save_model(conv_tasnet(2, **CONV), tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.fixture
def run(tmp_path):
    run = RunLayout(tmp_path / "run")
    save_model(
        LatentRefinementNet(2, n_blocks=1, n_iterations=1, n_filters=8, bn_chan=4, upsampling_depth=2), run.model
    )
    run.config.write_text("recipe: lir/toy\ndata: {n_src: 2}\n")
    return run


def test_a_model_file_is_exported_beside_it(model, capsys):
    assert main(["export", str(model), "--to", "torch", "--seconds", "0.1"]) == 0
    file = model.with_suffix(".pt2")
    out = capsys.readouterr().out
    assert f"written to {file}; input [1, 800]: one mixture of exactly 800 samples" in out
    assert "[1, 800]: greatest difference" in out
    assert torch.export.load(file).module()(torch.randn(1, 800)).shape == (1, 2, 800)


def test_a_variant_of_a_run_is_exported_with_its_origin(run, capsys):
    words = ["export", str(run.root), "--to", "torch", "--seconds", "0.1", "--variant", "iterations2"]
    assert main(words) == 0
    file = run.root / "programs" / "iterations2.pt2"
    assert file == run.program(".pt2", "iterations2")
    extra = {METADATA: ""}
    torch.export.load(file, extra_files=extra)
    facts = json.loads(extra[METADATA])
    assert facts == {
        "asteroid_stab": __version__, "recipe": "lir/toy", "variant": "iterations2", "sample_rate": 8000.0, "n_src": 2,
        "input": "[1, 800]: one mixture of exactly 800 samples",
    }  # fmt: skip
    assert main(words) == 2
    assert f"{file} exists; --overwrite replaces it" in capsys.readouterr().err


def test_a_name_of_the_hub_is_no_path(capsys):
    with pytest.raises(SystemExit):
        main(["export", "hf://ann/a", "--to", "torch"])
    assert "it must be a path, got 'hf://ann/a': asteroid-stab pull makes a folder of it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "torch", "--out", "a.onnx"], "--out must end in .pt2 for --to torch, got 'a.onnx'"),
        (["--to", "torch", "--variant", "iterations2"], "ConvTasNet has no variant 'iterations2'"),
    ],
)
def test_bad_input_is_refused(model, words, message, capsys):
    assert main(["export", str(model), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("words", [["--to", "torch", "--seconds", "0"], ["--to", "torch", "--seconds", "x"]])
def test_a_length_is_a_number_of_seconds(model, words, capsys):
    with pytest.raises(SystemExit) as status:
        main(["export", str(model), *words])
    assert status.value.code == 2
    assert "must be a number of seconds from 0 to 3600" in capsys.readouterr().err


def test_no_model_and_a_missing_package_are_refused(model, tmp_path, monkeypatch, capsys):
    assert main(["export", str(tmp_path / "none"), "--to", "torch"]) == 2
    assert "no model file at" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(model), "--to", "onnx"]) == 2
    assert "pip install 'asteroid-stab[export]'" in capsys.readouterr().err
