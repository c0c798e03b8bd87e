"""What an evaluation measures: a model or a beamformer, and a beamformer's way from the command line to a report."""

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
import yaml
from torch import nn

from asteroid_stab.cli.main import main
from asteroid_stab.cli.separators import ModelSeparator, OracleSeparator
from asteroid_stab.errors import StabError
from asteroid_stab.models import conv_tasnet, save_model
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.run.variants import find_variant
from asteroid_stab.separation.beamforming import beamform
from asteroid_stab.trust import trust

MEASURE = ["--metrics", "si_sdr", "--n-jobs", "1"]
SIZE = {"n_filters": 8, "n_blocks": 1, "n_repeats": 1, "bn_chan": 4, "hid_chan": 8, "skip_chan": 4}


@pytest.fixture
def run(tmp_path, tiny_corpus, monkeypatch):
    """A run folder without a model, on tones at three microphones."""
    module = types.ModuleType("heard_data")
    module.Tones = tiny_corpus
    monkeypatch.setitem(sys.modules, "heard_data", module)
    trust(["heard_data.Tones"])
    folder = tmp_path / "pit" / "1"
    folder.mkdir(parents=True)
    data = {"_target_": "heard_data.Tones", "n_src": 2, "n_mics": 3}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


def test_a_beamformer_is_measured_without_a_model(run, capsys):
    assert main(["evaluate", str(run), "--oracle", "mvdr", *MEASURE]) == 0
    out = capsys.readouterr().out
    assert "test, oracle MVDR: 6 mixtures" in out
    folder = run / "evaluation" / "test_oracle_mvdr"
    summary = json.loads((folder / "summary.json").read_text())
    entries = {key: summary.get(key) for key in ("oracle", "n_mics", "model_sha256", "cost", "model")}
    assert entries == {"oracle": "mvdr", "n_mics": 3, "model_sha256": None, "cost": None, "model": None}
    assert summary["metrics"]["si_sdr_i"]["mean"] > 5  # two tones, three microphones, no noise
    (read,) = read_runs([run])
    assert (read.evaluation, [one.of for one in read.oracles]) == (None, ["oracle MVDR, 3 microphones"])
    assert (folder / "examples" / "best" / "estimate_2.wav").is_file()

    assert main(["evaluate", str(run), "--oracle", "mvdr", *MEASURE]) == 0
    assert "holds this evaluation already" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--oracle", "mvdr", "--limit", "2", *MEASURE]) == 2
    assert "holds an evaluation of a beamformer with limit=None, wanted 2; --overwrite" in capsys.readouterr().err


def test_estimates_and_examples_are_the_beamformers(run, tiny_corpus):
    assert main(["evaluate", str(run), "--oracle", "delay_and_sum", *MEASURE]) == 0
    place = run / "evaluation" / "test_oracle_delay_and_sum" / "examples"
    best = json.loads((place / "examples.json").read_text())[0]
    mixture, sources, _ = tiny_corpus(n_mics=3).dataset("test")[best["id"]]
    wanted = beamform("delay_and_sum", mixture, sources, 8000)
    for j in (1, 2):
        found, _ = sf.read(place / "best" / f"estimate_{j}.wav")
        likeness = [abs(np.corrcoef(found, one.numpy())[0, 1]) for one in wanted]
        assert likeness[j - 1] > 0.999


def test_it_stands_beside_the_model_in_report_and_comparison(run, capsys):
    torch.manual_seed(0)
    save_model(conv_tasnet(2, **SIZE), run / "best_model.pth")
    for words in (["data.n_mics=1"], ["--oracle", "mvdr"], ["--oracle", "delay_and_sum"]):
        assert main(["evaluate", str(run), *words, *MEASURE]) == 0
    tables = {
        name: pd.read_csv(run / "evaluation" / name / "utterances.csv")["si_sdr_i"]
        for name in ("test", "test_oracle_mvdr", "test_oracle_delay_and_sum")
    }
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Beside beamformers that are given the sources" in page
    assert "oracle delay-and-sum, 3 microphones" in page
    capsys.readouterr()
    assert main(["compare", str(run.parents[1]), "--page", str(run / "study.html")]) == 0
    out = capsys.readouterr().out
    for label, name in (("MVDR", "test_oracle_mvdr"), ("delay-and-sum", "test_oracle_delay_and_sum")):
        mean = tables[name].mean()
        assert f"| oracle {label}, 3 microphones | – | – | {mean:.2f} |" in out
        difference = (tables["test"] - tables[name]).mean()
        assert f"| pit | oracle {label}, 3 microphones | 1 | 6 | {difference:+.2f} | worse by" in out
    assert "pit beside oracle MVDR, 3 microphones: worse by" in (run / "study.html").read_text()


def test_what_is_of_a_model_and_one_microphone_are_refused(run, capsys):
    assert main(["evaluate", str(run), "--oracle", "mvdr", "data.n_mics=1", *MEASURE]) == 2
    assert (
        "--oracle mvdr needs mixtures of several microphones, got one: data.mics=null takes all that the files have"
        in capsys.readouterr().err
    )
    assert not list(run.glob("evaluation/*"))
    for words in (["--variant", "stage1"], ["--device", "cuda"], ["--batch-size", "2"]):
        with pytest.raises(SystemExit):
            main(["evaluate", str(run), "--oracle", "mvdr", *words])
        assert f"argument {words[0]}: is of a model, and --oracle takes none" in capsys.readouterr().err


def test_one_folder_holds_a_model_or_a_beamformer(run, tmp_path, capsys):
    save_model(conv_tasnet(2, **SIZE), run / "best_model.pth")
    out = ["--out", str(tmp_path / "here"), *MEASURE]
    assert main(["evaluate", str(run), "data.n_mics=1", *out]) == 0
    assert main(["evaluate", str(run), "--oracle", "mvdr", *out]) == 2
    assert "holds an evaluation of a model with oracle=None, wanted mvdr; --overwrite" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--oracle", "mvdr", "--overwrite", *out]) == 0
    assert main(["evaluate", str(run), "data.n_mics=1", *out]) == 2
    assert "holds an evaluation of a beamformer with oracle=mvdr, wanted None; --over" in capsys.readouterr().err


def test_a_model_is_loaded_when_it_is_needed(run, monkeypatch):
    save_model(conv_tasnet(2, **SIZE), run / "best_model.pth")
    separator = ModelSeparator(find_variant(run, None), set())
    (run / "best_model.pth").unlink()
    assert len(separator.settings["model_sha256"]) == 64
    with pytest.raises(StabError, match=r"best_model\.pth"):
        _ = separator.model


def test_a_device_that_is_not_there_is_named_before_the_data_are_made(run, tiny_corpus):
    save_model(conv_tasnet(2, **SIZE), run / "best_model.pth")
    separator = ModelSeparator(find_variant(run, None), set(), device="no_such")
    with pytest.raises(StabError, match="no_such"):
        separator.check_corpus(tiny_corpus())


def test_a_model_without_a_rate_names_what_files_need(run):
    save_model(conv_tasnet(2, **SIZE), run / "best_model.pth")
    separator = ModelSeparator(find_variant(run, None), set())
    assert separator.n_src_and_rate() == (2, 8000)
    separator.model = nn.Identity()
    with pytest.raises(StabError, match="states no sample rate, which the files must have"):
        separator.n_src_and_rate()


def test_an_oracle_has_no_cost(tiny_corpus):
    separator, dataset = OracleSeparator("mvdr"), tiny_corpus(n_mics=2).dataset("test")
    separator.check_corpus(tiny_corpus())
    separator.check_data(dataset)
    assert (separator.cost(dataset), separator.figures, separator.facts) == (None, {}, {})
    (found,) = separator.estimates(dataset)([3])
    mixture, sources, _ = dataset[3]
    assert torch.equal(found.estimates, beamform("mvdr", mixture, sources, 8000))
    assert torch.equal(found.mixture, mixture[0])
