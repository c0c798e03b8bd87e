import json
import re
import sys
import types

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml

from asteroid_stab.cli import evaluate
from asteroid_stab.cli.evaluate_options import options_of
from asteroid_stab.cli.main import main
from asteroid_stab.data import Corpus, MixtureDataset
from asteroid_stab.data.corpora.mixture_files import MixtureFiles
from asteroid_stab.errors import StabError
from asteroid_stab.metrics import pool
from asteroid_stab.metrics.journal import Journal
from asteroid_stab.metrics.measured import Measured
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.metrics.separation_metrics import measure
from asteroid_stab.models import LatentRefinementNet, conv_tasnet
from asteroid_stab.models.files import save_model
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.run.variants import Variant
from asteroid_stab.threads import torch_threads
from asteroid_stab.trust import trust
from bench.speech_samples import speech_like


class SpeechSet(MixtureDataset):
    def __init__(self, n_items, n_src, sample_rate):
        lengths = [
            round((0.3 if i == 1 else 1.2) * sample_rate) for i in range(n_items)
        ]  # item 1 is too short for STOI
        super().__init__([f"talk {i}" for i in range(n_items)], lengths, n_src, sample_rate)

    def read(self, row, start, stop):
        rng = np.random.default_rng(row)
        sources = np.stack([speech_like(rng, self.lengths[row], self.sample_rate) for _ in range(self.n_src)])
        return sources.sum(0).astype(np.float32), sources.astype(np.float32)


class SpeechCorpus(Corpus):
    def __init__(self, n_src: int = 2, sample_rate: int = 8000, n_test: int = 4):
        super().__init__(n_src, sample_rate)
        self.n_test = n_test

    def dataset(self, split, segment_s=None, seed=0):
        return SpeechSet(self.n_test if split == "test" else 1, self.n_src, self.sample_rate)


class HerePool:
    """Measures in this process, without PESQ, which takes longest."""

    made = 0

    def __init__(self, sample_rate, metrics, n_jobs):
        HerePool.made += 1
        self.sample_rate, self.metrics, self.n_jobs = sample_rate, metrics, n_jobs

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait_until_started(self):
        pass

    def run(self, items):
        for item in items:
            measured = measure(*item[1:4], self.sample_rate, [m for m in self.metrics if m != "pesq"])
            if "pesq" in self.metrics:
                measured.values.update(input_pesq=1.5, pesq=2.0, pesq_i=0.5)
            yield item.key, Measured(measured.values, measured.perm, measured.failures)


@pytest.fixture
def run(tmp_path, tiny_model, monkeypatch):
    module = types.ModuleType("spoken_data")
    module.SpeechCorpus = SpeechCorpus
    monkeypatch.setitem(sys.modules, "spoken_data", module)
    folder = tmp_path / "run"
    folder.mkdir()
    data = {"_target_": "spoken_data.SpeechCorpus", "n_src": 2, "sample_rate": 8000, "n_test": 4}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    save_model(tiny_model(), folder / "best_model.pth")
    trust(["spoken_data.SpeechCorpus"])
    return folder


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(pool, "MetricPool", HerePool)
    HerePool.made = 0


def test_evaluation_from_beginning_to_end(run, capsys):
    argv = [str(run), "--n-jobs", "1"]
    assert evaluate.main(argv) == 0
    out = capsys.readouterr().out
    folder = run / "evaluation" / "test"
    summary = json.loads((folder / "summary.json").read_text())
    mean = summary["metrics"]["si_sdr_i"]["mean"]
    assert f"\ntest SI-SDRi: {mean:.2f} dB (n = 4)\n" in out
    assert "stoi is undefined for 1 of 4 mixtures: talk 1 (less than 400 ms of speech in a source)" in out
    assert summary["command"] == f"asteroid-stab evaluate {run} --n-jobs 1"
    assert summary["sample_rate"] == 8000
    assert summary["failures"]["stoi"] == ["talk 1"]
    assert summary["model"] == str(run / "best_model.pth")
    table = pd.read_csv(folder / "utterances.csv")
    assert len(table) == 4
    assert list(table.columns[3:6]) == ["input_si_sdr", "si_sdr", "si_sdr_i"]
    assert list(table.columns[-3:]) == ["input_pesq", "pesq", "pesq_i"]
    assert table["si_sdr_i"].mean() == pytest.approx(mean, abs=1e-4)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["test"]
    (read,) = read_runs([run])  # the report understands it
    assert read.metric("pesq")["n"] == summary["metrics"]["pesq"]["n"]
    assert [example.kind for example in read.evaluation.examples] == ["best", "median", "worst"]
    assert all(len(example.estimates) == 2 for example in read.evaluation.examples)


def test_table(run, here, capsys):
    evaluate.main([str(run)])
    out = capsys.readouterr().out
    rows = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert rows == [  # these mixtures hold no noise
        *("SI-SDR dB", "SI-SDRi dB", "SDR dB", "SDRi dB", "SIR dB", "SIRi dB", "SAR dB"),
        *("STOI", "STOIi", "PESQ", "PESQi"),
    ]
    header = next(line for line in out.splitlines() if "mean ± std" in line)
    assert all(f"p{p}" in header for p in (1, 5, 10, 25, 50, 75, 90, 95, 99))
    assert "2.00 ± 0.00" in out  # PESQ


def test_a_file_that_cannot_be_measured_is_named_at_the_end(run, here, monkeypatch, capsys):
    """The table of the others stays, and the exit status says that some are missing."""
    read = SpeechSet.read

    def damaged(self, row, start, stop):
        mixture, sources = read(self, row, start, stop)
        mixture[:] = np.nan if row == 2 else mixture
        return mixture, sources

    monkeypatch.setattr(SpeechSet, "read", damaged)
    assert main(["evaluate", str(run), "--metrics", "si_sdr"]) == 2
    shown = capsys.readouterr()
    assert "1 of 4 mixtures could not be measured\n  talk 2: audio must be finite, got NaN" in shown.err
    assert "test SI-SDRi: " in shown.out
    table = pd.read_csv(run / "evaluation/test/utterances.csv")
    assert table["si_sdr_i"].notna().tolist() == [True, True, False, True]
    assert main(["evaluate", str(run), "--metrics", "si_sdr"]) == 2  # the same table, and the same answer
    assert "talk 2" in capsys.readouterr().err
    assert HerePool.made == 1


def test_same_evaluation_is_shown_again(run, here, capsys):
    evaluate.main([str(run)])
    first = capsys.readouterr().out
    assert evaluate.main([str(run)]) == 0
    again = capsys.readouterr().out
    assert HerePool.made == 1
    assert "holds this evaluation already" in again
    assert again.splitlines()[-1] == next(line for line in first.splitlines() if "SI-SDRi:" in line)
    evaluate.main([str(run), "--overwrite"])
    assert HerePool.made == 2


def test_other_evaluation_is_not_overwritten(run, here):
    evaluate.main([str(run)])
    before = (run / "evaluation/test/summary.json").read_bytes()
    with pytest.raises(StabError, match=r"limit=None, wanted 2; --overwrite replaces it"):
        evaluate.main([str(run), "--limit", "2"])
    with pytest.raises(StabError, match=r"asked_metrics=.*wanted \['si_sdr', 'stoi'\]"):
        evaluate.main([str(run), "--metrics", "stoi"])
    assert (run / "evaluation/test/summary.json").read_bytes() == before
    evaluate.main([str(run), "--limit", "2", "--overwrite"])
    assert json.loads((run / "evaluation/test/summary.json").read_text())["n"] == 2


def test_newer_model_is_evaluated_anew(run, here, tiny_model):
    evaluate.main([str(run)])
    save_model(tiny_model(seed=1), run / "best_model.pth")
    evaluate.main([str(run)])
    assert HerePool.made == 2


def test_broken_summary_is_replaced(run, here):
    folder = run / "evaluation" / "test"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"split":')
    evaluate.main([str(run)])
    assert json.loads((folder / "summary.json").read_text())["n"] == 4


def test_split_metrics_and_data_are_chosen(run, here, capsys):
    evaluate.main([str(run), "--split", "valid", "--metrics", "stoi"])
    summary = json.loads((run / "evaluation/valid/summary.json").read_text())
    assert summary["split"] == "valid"
    assert summary["n"] == 1
    assert list(summary["metrics"]) == ["input_si_sdr", "si_sdr", "si_sdr_i", "input_stoi", "stoi", "stoi_i"]
    assert "valid SI-SDRi: " in capsys.readouterr().out
    evaluate.main([str(run), "--device", "cpu", "data.n_test=3"])
    assert json.loads((run / "evaluation/test/summary.json").read_text())["n"] == 3


def test_failure_leaves_the_old_evaluation(run, here, monkeypatch):
    evaluate.main([str(run)])
    before = (run / "evaluation/test/summary.json").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asteroid_stab.metrics.examples.sf.write", full)
    with pytest.raises(StabError, match="No space left on device; all mixtures are measured and kept in part_of_test"):
        evaluate.main([str(run), "--overwrite"])
    assert (run / "evaluation/test/summary.json").read_bytes() == before
    assert sorted(p.name for p in (run / "evaluation").iterdir()) == ["part_of_test.jsonl", "test"]


def test_an_evaluation_that_was_interrupted_is_gone_on_with(run, here, monkeypatch, capsys):
    """Its numbers are the ones of an undisturbed evaluation, though most mixtures are not separated again."""
    evaluate.main([str(run), "--out", str(run / "whole")])
    asked, plain = [], SpeechSet.read

    def read(self, row, start, stop):
        asked.append(row)
        if row == 3 and asked.count(3) == 1:
            raise KeyboardInterrupt
        return plain(self, row, start, stop)

    monkeypatch.setattr(SpeechSet, "read", read)
    with pytest.raises(KeyboardInterrupt):
        evaluate.main([str(run)])
    part = run / "evaluation" / "part_of_test.jsonl"
    part.write_bytes(part.read_bytes()[:-10])  # killed while it wrote the third mixture
    capsys.readouterr()
    evaluate.main([str(run)])
    assert "goes on with an evaluation that was interrupted: 2 mixtures are measured" in capsys.readouterr().out
    assert asked[: asked.index(3) + 4] == [0, 0, 1, 2, 3, 0, 2, 3]  # the first one for the model's cost too
    assert sorted(p.name for p in (run / "evaluation").iterdir()) == ["test"]
    for name in ("utterances.csv", "summary.json"):
        a, b = ((folder / name).read_text() for folder in (run / "whole", run / "evaluation" / "test"))
        assert re.sub('"command": .*|"real_time_factor": .*', "", a) == re.sub(
            '"command": .*|"real_time_factor": .*', "", b
        )


def test_measurements_of_other_settings_are_not_taken(run, here, tiny_model, monkeypatch):
    monkeypatch.setattr("asteroid_stab.metrics.examples.sf.write", lambda *_, **__: 1 / 0)
    for words in ([], ["--metrics", "stoi"], ["data.n_test=3"]):
        with pytest.raises(ZeroDivisionError):
            evaluate.main([str(run), *words])
        lines = (run / "evaluation" / "part_of_test.jsonl").read_text().splitlines()
        assert len(lines) == 1 + (3 if words[:1] == ["data.n_test=3"] else 4)
        assert json.loads(lines[0])["metrics"] == (["si_sdr", "stoi"] if "stoi" in words else [*STANDARD])


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(run, here):
    (run / "evaluation").write_text("no folder")
    with pytest.raises(
        StabError, match="cannot write to '.*evaluation': .*; --out DIR writes the evaluation elsewhere"
    ):
        evaluate.main([str(run)])
    assert HerePool.made == 0
    evaluate.main([str(run), "--out", str(run.parent / "else" / "where")])
    assert json.loads((run.parent / "else" / "where" / "summary.json").read_text())["n"] == 4
    assert [path.name for path in (run.parent / "else").iterdir()] == ["where"]
    (run.parent / "mine").mkdir()
    (run.parent / "mine" / "notes.txt").touch()
    with pytest.raises(StabError, match="--out must be a new folder or one of an evaluation, got '.*mine' with other"):
        evaluate.main([str(run), "--out", str(run.parent / "mine")])
    with pytest.raises(StabError, match="the folder of the evaluation is a file: '.*notes.txt'"):
        evaluate.main([str(run), "--out", str(run.parent / "mine" / "notes.txt")])


def test_a_mixture_that_cannot_be_kept_ends_the_evaluation_at_once(run, here, monkeypatch):
    def full(self, entry):
        raise OSError(28, "No space left on device")

    plain = Journal._append
    monkeypatch.setattr(Journal, "_append", lambda self, entry: (full if len(self.own) > 2 else plain)(self, entry))
    with pytest.raises(StabError, match="part_of_test.jsonl': No space left on device; it keeps the mixtures measured"):
        evaluate.main([str(run)])
    assert len((run / "evaluation" / "part_of_test.jsonl").read_text().splitlines()) == 3


def test_two_evaluations_are_not_in_one_folder(run, here, monkeypatch):
    plain = HerePool.run

    def meanwhile(self, items):
        monkeypatch.setattr(HerePool, "run", plain)
        with pytest.raises(StabError, match="has an evaluation that another process is writing: wait for its end"):
            evaluate.main([str(run)])
        evaluate.main([str(run), "--split", "valid"])
        yield from plain(self, items)

    monkeypatch.setattr(HerePool, "run", meanwhile)
    evaluate.main([str(run)])
    assert sorted(p.name for p in (run / "evaluation").iterdir()) == ["test", "valid"]


def test_other_files_of_the_folder_stay(run, here):
    evaluate.main([str(run)])
    folder = run / "evaluation" / "test"
    (folder / "notes.txt").write_text("mine")
    (folder / "sources.csv").write_text("of an older data set")
    evaluate.main([str(run), "--overwrite"])
    assert sorted(p.name for p in folder.iterdir()) == ["examples", "notes.txt", "summary.json", "utterances.csv"]


def test_an_override_after_the_metrics_is_an_override(run, here, capsys):
    evaluate.main([str(run), "data.sample_rate=8000", "--metrics", "si_sdr", "data.n_test=3"])
    summary = json.loads((run / "evaluation/test/summary.json").read_text())
    assert (summary["n"], summary["overrides"]) == (3, ["data.sample_rate=8000", "data.n_test=3"])
    assert summary["asked_metrics"] == ["si_sdr"]
    with pytest.raises(SystemExit):
        evaluate.main([str(run), "--metrics", "si_sdr", "other"])
    assert "--metrics: must be some of si_sdr, " in capsys.readouterr().err


def test_batches_are_as_large_as_the_option_says(run, here, monkeypatch):
    from asteroid_stab.metrics import separated as module

    sizes, separated = [], module.separated

    def noted(*args, batch_size):
        sizes.append(batch_size)
        return separated(*args, batch_size=batch_size)

    monkeypatch.setattr(module, "separated", noted)
    evaluate.main([str(run), "data.sample_rate=8000", "--metrics", "si_sdr", "data.n_test=3", "--batch-size", "2"])
    assert json.loads((run / "evaluation/test/summary.json").read_text())["n"] == 3
    assert {*sizes} == {2}  # the examples' too


def test_only_the_split_that_is_evaluated_is_prepared(run, here, monkeypatch):
    built, plain = [], SpeechCorpus.dataset
    monkeypatch.setattr(SpeechCorpus, "prepare", lambda self: 1 / 0)
    monkeypatch.setattr(SpeechCorpus, "dataset", lambda self, split, *a: built.append(split) or plain(self, split, *a))
    evaluate.main([str(run)])
    assert built == ["test"]


@pytest.fixture
def refining(run):
    torch.manual_seed(0)
    model = LatentRefinementNet(
        2, n_blocks=2, n_sub_blocks=3, n_iterations=[3, 1], n_filters=16, bn_chan=8, upsampling_depth=2
    )
    save_model(model, run / "best_model.pth")
    return run


def test_figures_of_the_model_are_columns_and_its_variants_are_evaluated(refining, here, capsys):
    evaluate.main([str(refining)])
    out = capsys.readouterr().out
    for label, mean in (("iterations", "4.00"), ("sub-blocks", "12.00")):
        row = next(line for line in out.splitlines() if f"│ {label}" in line)
        assert [cell.strip() for cell in row.split("│")[2:4]] == [f"{mean} ± 0.00", mean]
    assert "\ncompute: 100 % of at most 12 sub-blocks a mixture\n" in out
    evaluate.main([str(refining), "--variant", "iterations1"])
    assert "test, iterations1: 4 mixtures" in capsys.readouterr().out
    folder = refining / "evaluation/test_iterations1"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["variant"] == "iterations1"
    assert summary["command"] == f"asteroid-stab evaluate {refining} --variant iterations1"
    assert {name: info["most"] for name, info in summary["figures"].items()} == {"n_iterations": 2, "n_sub_blocks": 6}
    table = pd.read_csv(folder / "utterances.csv")
    assert table["n_iterations"].tolist() == [2] * 4
    assert table["n_sub_blocks"].tolist() == [6] * 4
    evaluate.main([str(refining), "--variant", "iterations1"])
    assert HerePool.made == 2
    (read,) = read_runs([refining])
    assert read.metric("n_iterations")["mean"] == 4
    (limited,) = read.variants
    assert limited.variant == "iterations1"
    assert limited.metrics["n_iterations"]["mean"] == 2
    assert [one.metrics["n_sub_blocks"]["mean"] for one in (read.evaluation, limited)] == [12, 6]


def test_a_model_file_of_the_run_is_a_variant(refining, here):
    evaluate.main([str(refining)])
    layout = {"n_blocks": 1, "n_sub_blocks": 3, "n_iterations": 3}
    first = LatentRefinementNet(2, **layout, n_filters=16, bn_chan=8, upsampling_depth=2)
    save_model(first, refining / "stages" / "stage_1.pth")
    evaluate.main([str(refining), "--variant", "stage1"])
    evaluate.main([str(refining), "--variant", "iterations2,stage1"])
    evaluate.main([str(refining), "--variant", "iterations2", "--limit", "1"])  # of other mixtures: not drawn with them
    (read,) = read_runs([refining])
    assert [(one.variant, one.metrics["n_sub_blocks"]["mean"]) for one in read.variants] == [
        ("stage1", 9), ("stage1,iterations2", 6)
    ]  # fmt: skip
    assert not any(one.of_another_model for one in read.variants)
    save_model(first.truncated(1), refining / "best_model.pth")
    (read,) = read_runs([refining])
    assert read.evaluation.of_another_model
    assert not any(one.of_another_model for one in read.variants)


def test_an_evaluation_of_an_earlier_version_is_found(refining, here, capsys):
    """It has keys for a stage and for limited iterations, and compute in place of figures."""
    evaluate.main([str(refining), "--variant", "iterations1"])
    folder = refining / "evaluation/test_iterations1"
    summary = json.loads((folder / "summary.json").read_text())
    del summary["variant"], summary["figures"], summary["metrics"]["n_sub_blocks"]
    summary |= {"stage": None, "max_iterations": 1, "compute": {"most": 2, "share": 1.0, "sub_blocks": 6.0}}
    (folder / "summary.json").write_text(json.dumps(summary))
    table = pd.read_csv(folder / "utterances.csv").drop(columns="n_sub_blocks")
    table.to_csv(folder / "utterances.csv", index=False)
    capsys.readouterr()
    evaluate.main([str(refining), "--variant", "iterations1"])
    assert HerePool.made == 1
    assert "\ncompute: 100 % of at most 6 sub-blocks a mixture\n" in capsys.readouterr().out
    (read,) = read_runs([refining])
    (limited,) = read.variants
    assert (limited.variant, limited.metrics["n_sub_blocks"]["mean"]) == ("iterations1", 6)
    assert limited.figures["n_sub_blocks"].is_cost


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("iterations2", "--variant: ConvTasNet has no variant 'iterations2'; it has none"),
        ("Stage 1", "words such as iterations2, separated by commas, got 'Stage 1'"),
        ("iterations02", "separated by commas, got 'iterations02'"),
        ("", "separated by commas, got ''"),
    ],
)
def test_variants_that_a_model_has_not_are_refused(run, here, variant, message):
    with pytest.raises(StabError, match=message):
        evaluate.main([str(run), "--variant", variant])
    assert HerePool.made == 0


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            "stage3",
            r"LatentRefinementNet has no variant 'stage3'; choose from stage1, stage2, iterationsN \(N iterations",
        ),
        ("iterations0", "n_iterations must be whole numbers of at least 1, got 0"),
        ("iterations2,iterations3", "must be of different kinds, got iterations2 and iterations3"),
        ("stage1,stage2", "one word may name a model file, got stage1 and stage2"),
    ],
)
def test_variants_that_a_run_has_not_are_refused(refining, here, variant, message):
    (refining / "stages").mkdir()
    for n in (1, 2):
        (refining / f"stages/stage_{n}.pth").write_bytes((refining / "best_model.pth").read_bytes())
    with pytest.raises(StabError, match=message):
        evaluate.main([str(refining), "--variant", variant])
    assert HerePool.made == 0
    assert not (refining / "evaluation").exists()


def test_pesq_is_left_out_at_other_rates(run, here, capsys):
    model = conv_tasnet(2, 11_025, n_filters=32, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=16, skip_chan=8)
    save_model(model, run / "best_model.pth")
    evaluate.main([str(run), "data.sample_rate=11025"])
    assert "PESQ is left out: it is defined at 8000 and 16000 Hz, these data are sampled at 11025 Hz" in (
        capsys.readouterr().out
    )
    assert "pesq" not in json.loads((run / "evaluation/test/summary.json").read_text())["metrics"]


def test_the_sir_of_one_source_is_left_out(run, here, tiny_model, capsys):
    """Nothing interferes with it, so that the cap of 100 dB would stand for every mixture."""
    save_model(tiny_model(n_src=1), run / "best_model.pth")
    evaluate.main([str(run), "data.n_src=1"])
    out = capsys.readouterr().out
    assert "SIR is left out: it measures the other sources in an estimate, and these data have one source" in out
    summary = json.loads((run / "evaluation/test/summary.json").read_text())
    assert {"sdr", "sar"} < set(summary["metrics"])
    assert not {"sir", "input_sir", "sir_i"} & set(summary["metrics"])
    assert "100.00" not in out.replace("SAR", "")


def test_the_sir_of_one_source_in_an_earlier_evaluation_is_not_shown(run, here, capsys):
    evaluate.main([str(run)])
    file = run / "evaluation/test/summary.json"
    summary = json.loads(file.read_text())
    cap = {"n": 4, "std": 0.0, **dict.fromkeys(["mean", *(k for k in summary["metrics"]["sir"] if k[0] == "p")], 100.0)}
    file.write_text(json.dumps({**summary, "metrics": {**summary["metrics"], "sir": cap, "input_sir": cap}}))
    capsys.readouterr()
    evaluate.main([str(run)])
    out = capsys.readouterr().out
    assert "SDRi dB" in out
    assert "SIR" not in out
    (read,) = read_runs([run])
    assert "sir" not in read.evaluation.metrics


@pytest.fixture
def files(tmp_path):
    """A folder of mixtures with their sources, and a table of it beside."""
    mixtures = SpeechSet(3, 2, 8000)
    lines = ["mixture_path,source_1_path,source_2_path"]
    for i in range(3):
        mixture, sources, _ = mixtures[i]
        signals = {"mix": mixture, "s1": sources[0], "s2": sources[1]}
        for role, signal in signals.items():
            (tmp_path / "meeting" / role).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "meeting" / role / f"{i}.wav", signal.numpy(), 8000, subtype="FLOAT")
        lines.append(",".join(f"meeting/{role}/{i}.wav" for role in signals))
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path / "meeting"


def test_other_corpora_stand_beside_the_own_one(run, here, capsys, files):
    evaluate.main([str(run), "--metrics", "si_sdr"])
    small = ["data=toy", "data.n_test=2", "data.n_utterances=1"]
    evaluate.main([str(run), *small, "--metrics", "si_sdr"])
    assert "\ntest of toy SI-SDRi: " in capsys.readouterr().out
    evaluate.main([str(run), str(files), str(files.parent / "table.csv"), "--metrics", "si_sdr"])
    evaluate.main([str(run), "data.n_test=3", "--name", "few", "--metrics", "si_sdr"])
    names = sorted(path.name for path in (run / "evaluation").iterdir())
    assert names == ["test", "test@few", "test@meeting", "test@table", "test@toy"]
    read = {name: json.loads((run / "evaluation" / name / "summary.json").read_text()) for name in names}
    assert [read[name]["n"] for name in names] == [4, 3, 3, 3, 2]
    assert [read[name]["corpus"] for name in names] == [None, "few", "meeting", "table", "toy"]
    assert read["test@toy"]["overrides"] == small
    assert read["test@meeting"]["metrics"] == read["test@table"]["metrics"] == read["test@few"]["metrics"]
    (shown,) = read_runs([run])
    assert [(one.corpus, len(one.utterances)) for one in shown.others] == [
        ("few", 3), ("meeting", 3), ("table", 3), ("toy", 2)
    ]  # fmt: skip
    assert shown.variants == []
    made = HerePool.made
    evaluate.main([str(run), *small, "--metrics", "si_sdr"])
    assert HerePool.made == made
    with pytest.raises(StabError, match=r"overrides=\['data=toy', .*, wanted \['data=toy'\]; --overwrite"):
        evaluate.main([str(run), "data=toy", "--metrics", "si_sdr"])


def test_the_first_mixtures_are_said_to_be_of_all(run, here, capsys):
    evaluate.main([str(run), "--metrics", "si_sdr", "--limit", "3"])
    assert "test: first 3 of 4 mixtures, percentiles" in capsys.readouterr().out
    (read,) = read_runs([run])
    assert read.evaluation.is_part
    assert read.evaluation.mixtures == "the first 3 of 4 mixtures"
    evaluate.main([str(run), "--metrics", "si_sdr", "--limit", "9", "--overwrite"])
    assert "test: 4 mixtures, percentiles" in capsys.readouterr().out
    (read,) = read_runs([run])
    assert (read.evaluation.is_part, read.evaluation.mixtures) == (False, "4 mixtures")


def test_the_kind_of_the_references_stands_in_the_table(run, here, capsys, monkeypatch):
    monkeypatch.setattr(SpeechCorpus, "references", "early")
    evaluate.main([str(run), "--metrics", "si_sdr"])
    assert "test: 4 mixtures against their early references, percentiles" in capsys.readouterr().out
    assert json.loads((run / "evaluation/test/summary.json").read_text())["target"] == "early"
    (read,) = read_runs([run])
    assert read.evaluation.mixtures == "4 mixtures against their early references"


def test_metrics_that_are_not_standard_are_asked_for(run, here, capsys):
    evaluate.main([str(run), "--metrics", "standard", "estoi", "si_sdr", "--limit", "1"])
    summary = json.loads((run / "evaluation/test/summary.json").read_text())
    assert summary["asked_metrics"] == [*STANDARD, "estoi"]
    assert 0 < summary["metrics"]["estoi"]["mean"] < 1
    assert "ESTOIi" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        options_of(["RUN", "--metrics", "standart"])
    assert "got 'standart' (did you mean 'standard'?)" in capsys.readouterr().err


def test_words_are_counted_by_a_recogniser_of_the_users(run, here, capsys, monkeypatch, tmp_path):
    pytest.importorskip("meeteval")
    heard = []
    monkeypatch.setattr(sys.modules["spoken_data"], "hear", lambda x, rate: heard.append(rate) or "a b", raising=False)
    table = tmp_path / "said.csv"
    table.write_text("name,source_1,source_2\n" + "".join(f"talk {i},a b,a c d\n" for i in range(4)))
    words = ["--recogniser", "spoken_data.hear", "--transcripts", str(table)]
    evaluate.main([str(run), "--metrics", "si_sdr", *words])
    out = capsys.readouterr().out
    assert "WER 40.0 %, cpWER 40.0 % of all 20 words\n" in out
    assert heard == [8000] * 9  # on noise first
    summary = json.loads((run / "evaluation/test/summary.json").read_text())
    assert summary["words"] == {"wer": 40.0, "cpwer": 40.0, "n_words": 20}
    assert summary["recogniser"] == "spoken_data.hear"
    (read,) = read_runs([run])
    assert [*read.evaluation.figures] == ["wer", "cpwer", "n_words"]
    assert read.evaluation.utterances["wer"].tolist() == [40.0] * 4
    evaluate.main([str(run), "--metrics", "si_sdr", *words])
    assert "WER 40.0 %, cpWER 40.0 % of all 20 words\n" in capsys.readouterr().out
    assert len(heard) == 9
    table.write_text(table.read_text().replace("a c d", "a b"))
    with pytest.raises(StabError, match="with transcripts_sha256=.*; --overwrite replaces it"):
        evaluate.main([str(run), "--metrics", "si_sdr", *words])


def test_where_a_recogniser_fails_the_other_metrics_are_kept(run, here, capsys, monkeypatch, tmp_path):
    """The whole mixture was lost, its SI-SDR too."""
    pytest.importorskip("meeteval")
    calls = []

    def hear(signal, sample_rate):
        calls.append(1)
        if len(calls) == 4:  # the first is noise, the next two are of the first mixture
            raise RuntimeError("no memory")
        return "a"

    monkeypatch.setattr(sys.modules["spoken_data"], "hear", hear, raising=False)
    table = tmp_path / "said.csv"
    table.write_text("name,source_1,source_2\n" + "".join(f"talk {i},a,b\n" for i in range(4)))
    words = [str(run), "--metrics", "si_sdr", "--recogniser", "spoken_data.hear", "--transcripts", str(table)]
    lost = "  talk 1: the recogniser failed: RuntimeError: no memory"
    message = f"1 of 4 mixtures have no word error rate; their other metrics were measured\n{lost}"
    for _ in range(2):  # as it is measured, and as it is printed again
        with pytest.raises(StabError) as error:
            evaluate.main(words)
        assert str(error.value) == message
        out = capsys.readouterr().out
        assert "wer is undefined for 1 of 4 mixtures: talk 1 (the recogniser failed: RuntimeError: no memory)" in out
        assert "WER 50.0 %, cpWER 50.0 % of all 6 words\n" in out
        assert "(n = 4)" in out
    summary = json.loads((run / "evaluation/test/summary.json").read_text())
    assert (summary["metrics"]["si_sdr"]["n"], summary["metrics"]["wer"]["n"], summary["broken"]) == (4, 3, {})
    (read,) = read_runs([run])
    assert read.evaluation.failures["wer"] == {"talk 1": "the recogniser failed: RuntimeError: no memory"}


def test_a_model_is_built_once_for_all_files(run, here, files, monkeypatch):
    load, loaded = Variant.load, []
    monkeypatch.setattr(Variant, "load", lambda self: loaded.append(1) or load(self))
    places = [str(files), str(files.parent / "table.csv")]
    evaluate.main([str(run), *places, "--metrics", "si_sdr"])
    assert loaded == [1]


def test_a_run_whose_own_corpus_is_not_trusted_is_evaluated_on_another(run, here, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    with pytest.raises(StabError, match="names spoken_data.SpeechCorpus at data"):
        evaluate.main([str(run)])
    evaluate.main([str(run), "data=toy", "data.n_test=1", "data.n_utterances=1", "--metrics", "si_sdr"])
    assert (run / "evaluation" / "test@toy" / "summary.json").is_file()


def test_the_cost_of_the_model_is_measured(run, here, capsys, tiny_model):
    evaluate.main([str(run), "--metrics", "si_sdr"])
    cost = json.loads((run / "evaluation/test/summary.json").read_text())["cost"]
    assert cost["n_parameters"] == sum(p.numel() for p in tiny_model().parameters())
    assert cost["length_s"] == 1.2
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("cost: "))
    assert f"{cost['n_parameters']:,} parameters, {cost['gmacs_per_s']:.3f} G MACs for a second of sound" in line
    assert f"real-time factor {cost['real_time_factor']:.3f} (cpu, " in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=tyo"], "group 'data' has no option 'tyo' .did you mean 'toy'"),
        (["data=toy", "data.sample_rate=16000"], "works at 8000 Hz, the data are sampled at 16000 Hz"),
        (["data=toy", "data.n_src=3"], "the model gives 2 sources, the data have mixtures of 3: data.n_src=2 asks"),
        (["data=toy", "optim.lr=1"], "an override must be data=CORPUS or data.KEY=VALUE, got 'optim.lr=1'"),
        (["data@data.base=toy"], "an override must be data=CORPUS or data.KEY=VALUE"),
        (["data=[toy,wham]"], "data= takes the name of one corpus, got "),
        (["data=wham"], "root is not set; set data.root=FOLDER to the WHAM! folder"),
        (["none/"], "'none' must be a folder of mixtures or a table of them"),
        (["FILES", "data=toy"], "either data=toy or files are evaluated, got .*meeting too"),
        (["FILES", "--split", "valid"], "files have no splits: --split valid"),
        (["FILES", "TABLE", "--name", "x"], "--name is of one evaluation, got 2 folders or tables"),
        (["FILES", "FILES"], "two of the folders or tables have the name 'meeting'"),
        (["FILES", "--name", "a/b"], "--name must be a name of at most 100 letters, digits, .*, got 'a/b'"),
        (["FILES", "data.n_src=3"], "the model gives 2 sources, the data have mixtures of 3"),
    ],
)
def test_corpora_that_cannot_be(run, here, files, words, message):
    known = {"FILES": str(files), "TABLE": str(files.parent / "table.csv")}
    with pytest.raises(StabError, match=message):
        evaluate.main([str(run), *(known.get(word, word) for word in words)])
    assert HerePool.made <= 1
    assert not (run / "evaluation").exists()


def test_files_need_a_model_that_states_its_sample_rate(run, here, files, monkeypatch):
    plain = Variant.load
    monkeypatch.setattr(Variant, "load", lambda self: torch.nn.Sequential(plain(self)))
    with pytest.raises(StabError, match="best_model.pth states no sample rate, which the files must have: data=mix"):
        evaluate.main([str(run), str(files)])


def test_all_files_are_measured_before_broken_mixtures_are_named(run, here, files, monkeypatch, capsys):
    monkeypatch.setattr(MixtureFiles, "read", _broken_once(MixtureFiles.read))
    words = [str(run), str(files), str(files.parent / "table.csv"), "--metrics", "si_sdr"]
    with pytest.raises(StabError, match="1 of 3 mixtures could not be measured\n  2: audio must be finite"):
        evaluate.main(words)
    assert json.loads((run / "evaluation/test@table/summary.json").read_text())["n"] == 3


def _broken_once(read):
    """Reads a NaN where row 2 is read for the first time."""
    seen = []

    def broken(self, row, start, stop):
        mixture, sources = read(self, row, start, stop)
        if row == 2 and not seen:
            seen.append(row)
            mixture = mixture * np.nan
        return mixture, sources

    return broken


def test_a_model_that_cannot_be_tried_is_named(run, here, monkeypatch):
    monkeypatch.setattr("asteroid_stab.metrics.evaluation.separate_whole", lambda *_: 1 / 0)
    with pytest.raises(StabError, match="the model cannot separate a second of noise: ZeroDivisionError"):
        evaluate.main([str(run)])


def test_a_damaged_summary_is_named(run, here):
    evaluate.main([str(run), "--metrics", "si_sdr"])
    file = run / "evaluation/test/summary.json"
    summary = json.loads(file.read_text())
    file.write_text(json.dumps({**summary, "metrics": {"si_sdr": {}}}))
    with pytest.raises(StabError, match="summary.json cannot be used: metrics.si_sdr_i is missing"):
        evaluate.main([str(run), "--metrics", "si_sdr"])
    file.write_text(json.dumps({**summary, "cost": {"n_parameters": 1}}))
    with pytest.raises(
        StabError, match="summary.json cannot be used: n_parameters must be int, got 'many'|gmacs_per_s is missing"
    ):
        evaluate.main([str(run), "--metrics", "si_sdr"])


def test_bad_input(run, here, tmp_path):
    with pytest.raises(StabError, match="no run folder"):
        evaluate.main([str(tmp_path)])
    with pytest.raises(StabError, match=r"must be data=CORPUS or data.KEY=VALUE, got 'n_test=3'"):
        evaluate.main([str(run), "n_test=3"])
    with pytest.raises(StabError, match="no key 'n_tset'.*did you mean 'n_test'"):
        evaluate.main([str(run), "data.n_tset=3"])
    with pytest.raises(StabError, match="works at 8000 Hz, the data are sampled at 16000 Hz"):
        evaluate.main([str(run), "data.sample_rate=16000"])
    with pytest.raises(StabError, match=r"the model gives 2 sources, the data have mixtures of 3: data.n_src=2"):
        evaluate.main([str(run), "data.n_src=3"])
    with pytest.raises(StabError, match="got 'tpu9'"):
        evaluate.main([str(run), "--device", "tpu9"])
    (run / "best_model.pth").unlink()
    with pytest.raises(StabError, match="no model file at .*best_model.pth"):
        evaluate.main([str(run)])
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize(
    "option",
    [["--limit", "0"], ["--batch-size", "0"], ["--n-jobs", "x"], ["--metrics", "si_snr"], ["--split", "dev"]],
)
def test_options_that_cannot_be(run, option, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(run), *option])
    assert stop.value.code == 2
    assert option[1] in capsys.readouterr().err


@pytest.mark.parametrize(("allowed", "used"), [(8, 3), (2, 2), (1, 1)])
def test_threads_are_as_before_afterwards(run, here, monkeypatch, allowed, used):
    """No more than the cores that the measuring leaves, and than the environment allows (OMP_NUM_THREADS)."""
    seen = []
    monkeypatch.setattr(HerePool, "__enter__", lambda self: seen.append(torch.get_num_threads()) or self)
    monkeypatch.setattr("asteroid_stab.cores.available_cores", lambda: 4)
    with torch_threads(allowed):
        evaluate.main([str(run), "--n-jobs", "1", "--metrics", "si_sdr", "--limit", "1"])
        assert torch.get_num_threads() == allowed
    assert seen == [used]


def test_a_number_of_measuring_processes_beyond_reason_is_refused(capsys):
    with pytest.raises(SystemExit):
        options_of(["run", "--n-jobs", "100000"])
    assert "argument --n-jobs: must be at most" in capsys.readouterr().err
