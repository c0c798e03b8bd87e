import csv
import json
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from asteroid_stab.data import ToyCorpus
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.evaluation import Evaluation, check_model, evaluate, pick_examples
from asteroid_stab.metrics.examples import listenable, write_examples
from asteroid_stab.metrics.input_snr import input_snr
from asteroid_stab.metrics.names import FigureInfo, columns
from asteroid_stab.metrics.separated import separated
from asteroid_stab.metrics.separation_metrics import measure
from asteroid_stab.metrics.tables import write_tables
from asteroid_stab.run.layout import ExamplesLayout
from bench.speech_samples import speech_like

RATE = 8000


class HerePool:
    """Measures in this process."""

    def __init__(self, metrics):
        self.metrics = metrics

    def run(self, items):
        for item in reversed(list(items)):  # results come in any order
            yield item.key, measure(*item[1:4], RATE, self.metrics)


class Speech(MixtureDataset):
    """Mixtures of 3 speakers; ``spoilt`` items have a silent source."""

    def __init__(self, n_items, spoilt=()):
        super().__init__([f"mix-{i}" for i in range(n_items)], [6000 + 10 * i for i in range(n_items)], 3, RATE)
        self.spoilt = spoilt

    def read(self, row, start, stop):
        rng = np.random.default_rng(row)
        sources = np.stack([speech_like(rng, self.lengths[row], RATE) for _ in range(3)]).astype(np.float32)
        if row in self.spoilt:
            sources[1] = 0
        return sources.sum(0), sources


class Oracle(torch.nn.Module):
    """Knows the sources; leaves noise that grows with the item's number, in an order and at scales of its own."""

    def __init__(self, dataset, n_src=3, sample_rate=RATE):
        super().__init__()
        self.dataset, self.n_src, self.sample_rate = dataset, n_src, sample_rate
        self.modes = []

    def forward(self, mixture):
        self.modes.append(self.training)
        item = (mixture.shape[1] - 6000) // 10
        _, sources, _ = self.dataset[item]
        noise = torch.from_numpy(np.random.default_rng(item).standard_normal(sources.shape)).float()
        noise *= sources.norm() / noise.norm() * 10 ** (-(20 - 5 * item) / 20)
        return ((sources + noise) * torch.tensor([[1.0], [-20.0], [0.3]]))[[2, 0, 1]][: self.n_src][None]


@pytest.fixture(scope="module")
def dataset():
    return Speech(5, spoilt=[3])


@pytest.fixture(scope="module")
def evaluation(dataset):
    model = Oracle(dataset).train()
    steps = []
    found = evaluate(model, dataset, HerePool(("si_sdr", "stoi")), advance=lambda: steps.append(1))
    assert len(steps) == 5
    assert not any(model.modes)
    return found


def test_rows(dataset, evaluation):
    assert [row["id"] for row in evaluation.rows] == list(range(5))
    assert [row["name"] for row in evaluation.rows] == list(dataset.names)
    assert [row["n_samples"] for row in evaluation.rows] == list(dataset.lengths)
    for i in (0, 1, 2, 4):  # noise at -20 dB of all three, one of which the estimate is
        assert evaluation.rows[i]["si_sdr"] == pytest.approx(20 - 5 * i, abs=1.5)
    assert np.isnan(evaluation.rows[3]["si_sdr"])
    assert evaluation.failures == {"si_sdr": {"mix-3": "silent source"}, "stoi": {"mix-3": "silent source"}}


def test_tables(tmp_path, evaluation):
    write_tables(evaluation, tmp_path / "new", {"split": "test", "command": "this"})
    with (tmp_path / "new/utterances.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("id", "name", "n_samples"),
        *("input_si_sdr", "si_sdr", "si_sdr_i", "input_stoi", "stoi", "stoi_i"),
    ]
    assert float(rows[4]["si_sdr_i"]) == pytest.approx(evaluation.rows[4]["si_sdr_i"], rel=1e-5)
    assert rows[3]["si_sdr"] == ""
    summary = json.loads((tmp_path / "new/summary.json").read_text())
    assert summary["split"] == "test"
    assert summary["command"] == "this"
    assert summary["n"] == 5
    assert summary["failures"] == {"si_sdr": ["mix-3"], "stoi": ["mix-3"]}
    assert summary["failure_reasons"]["si_sdr"] == {"mix-3": "silent source"}
    assert summary["reference_fallbacks"] == {}
    gains = [row["si_sdr_i"] for row in evaluation.rows if not np.isnan(row["si_sdr_i"])]
    assert summary["metrics"]["si_sdr_i"]["n"] == 4
    assert summary["metrics"]["si_sdr_i"]["mean"] == pytest.approx(np.mean(gains))
    assert summary["metrics"]["si_sdr_i"]["p90"] == pytest.approx(np.percentile(gains, 90))


def test_examples(tmp_path, dataset, evaluation):
    separate = partial(separated, Oracle(dataset), dataset)
    write_examples(evaluation, separate, dataset.sample_rate, ExamplesLayout(tmp_path))
    listed = json.loads((tmp_path / "examples.json").read_text())
    assert [(entry["kind"], entry["id"]) for entry in listed] == [("best", 0), ("median", 2), ("worst", 4)]
    assert listed[0]["name"] == "mix-0"
    assert listed[0]["si_sdr_i"] == evaluation.rows[0]["si_sdr_i"]
    for entry in listed:
        folder = tmp_path / entry["kind"]
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["mixture.wav", *(f"{stem}_{j}.wav" for stem in ("estimate", "source") for j in (1, 2, 3))]
        )
    best = {path.stem: sf.read(path)[0] for path in (tmp_path / "best").iterdir()}
    for j in (1, 2, 3):  # in the sources' order, at their level
        likeness = best[f"estimate_{j}"] @ best[f"source_{j}"]
        assert likeness / (np.linalg.norm(best[f"estimate_{j}"]) * np.linalg.norm(best[f"source_{j}"])) > 0.9
        assert np.linalg.norm(best[f"estimate_{j}"]) == pytest.approx(np.linalg.norm(best[f"source_{j}"]), rel=1e-2)
    np.testing.assert_allclose(best["mixture"], best["source_1"] + best["source_2"] + best["source_3"], atol=1e-4)
    assert max(np.abs(x).max() for x in best.values()) < 0.96


def test_loud_examples_keep_their_proportions():
    rng = np.random.default_rng(0)
    sources = 3 * rng.standard_normal((3, 1000))
    mixture, scaled, estimates = listenable(sources.sum(0), sources, sources[[1, 2, 0]] * 0.01)
    assert max(np.abs(x).max() for x in (mixture, scaled, estimates)) == pytest.approx(0.95)
    np.testing.assert_allclose(mixture, scaled.sum(0))
    np.testing.assert_allclose(estimates, scaled)


def test_silent_estimate_stays_silent():
    sources = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 1000))
    _, _, estimates = listenable(sources.sum(0), sources, sources * [[1.0], [0.0]])
    np.testing.assert_allclose(estimates, sources * [[1.0], [0.0]])


@pytest.mark.parametrize(
    ("n_defined", "ids"), [(0, []), (1, [0, 0, 0]), (2, [1, 0, 0]), (3, [2, 1, 0]), (4, [3, 1, 0])]
)
def test_pick_examples(n_defined, ids):
    rows = [{"id": i, "si_sdr_i": float(i)} for i in range(n_defined)] + [{"id": 9, "si_sdr_i": float("nan")}]
    assert [row["id"] for row in pick_examples(rows).values()] == ids


def test_limit(dataset):
    assert len(evaluate(Oracle(dataset), dataset, HerePool(("si_sdr",)), limit=2).rows) == 2
    assert len(evaluate(Oracle(dataset), dataset, HerePool(("si_sdr",)), limit=99).rows) == 5


def test_model_of_other_sources(dataset):
    with pytest.raises(StabError, match=r"\[3, 6000\] \(sources, samples\) for 'mix-0', got \[2, 6000\]"):
        evaluate(Oracle(dataset, n_src=2), dataset, HerePool(("si_sdr",)))


def test_model_of_another_rate(dataset):
    with pytest.raises(StabError, match="works at 16000 Hz, the data are sampled at 8000 Hz"):
        check_model(Oracle(dataset, sample_rate=16_000.0), dataset)
    with pytest.raises(StabError, match="works at 16000 Hz, the data are sampled at 8000 Hz"):
        check_model(Oracle(dataset, sample_rate=16_000.0), ToyCorpus())


def test_nothing_measured():
    dataset = Speech(2, spoilt=[0, 1])
    with pytest.raises(StabError, match="none of 2 mixtures has a SI-SDR: silent source"):
        evaluate(Oracle(dataset), dataset, HerePool(("si_sdr",)))


class Noisy(Speech):
    """The same with noise, less of it the higher the row; none in the last."""

    def read(self, row, start, stop):
        mixture, sources = super().read(row, start, stop)
        noise = np.random.default_rng(100 + row).standard_normal(mixture.shape)
        noise *= np.linalg.norm(mixture) / np.linalg.norm(noise) * 10 ** (-5 * row / 20)
        return (mixture + (row < len(self) - 1) * noise).astype(np.float32), sources


def test_the_snr_of_noisy_mixtures_is_listed(tmp_path):
    dataset = Noisy(4)
    found = evaluate(Oracle(dataset), dataset, HerePool(("si_sdr",)))
    write_tables(found, tmp_path, {})
    table = pd.read_csv(tmp_path / "utterances.csv")
    np.testing.assert_allclose(table["input_snr"], [0, 5, 10, np.nan], atol=1e-3)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["metrics"]["input_snr"]["mean"] == pytest.approx(5, abs=1e-3)
    assert summary["metrics"]["input_snr"]["n"] == 3


@pytest.mark.parametrize(
    ("noise", "wanted"), [(0.1, 20.0), (1e-3, 60.0 - 1e-9), (0.9e-3, np.nan), (0.0, np.nan), (np.nan, np.nan)]
)
def test_the_snr_of_what_is_only_rounded_is_undefined(noise, wanted):
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    found = input_snr(signs * (1 + noise * (1 + 1e-10)), signs[None])
    assert found == pytest.approx(wanted, nan_ok=True)


def test_the_snr_of_silence_is_undefined():
    assert np.isnan(input_snr(np.ones(4), np.zeros((2, 4))))


class Counting(Oracle):
    """An oracle that reports one pass more for each item, of at most five."""

    figures: ClassVar = {"n_passes": FigureInfo("passes", digits=1, most=5, is_cost=True)}

    def forward_with_figures(self, mixture):
        return self(mixture), {"n_passes": torch.tensor([1 + (mixture.shape[1] - 6000) // 10])}


def test_figures_of_a_model_are_columns(tmp_path, dataset):
    found = evaluate(Counting(dataset), dataset, HerePool(("si_sdr",)))
    write_tables(found, tmp_path, {})
    table = pd.read_csv(tmp_path / "utterances.csv")
    assert table.columns[-1] == "n_passes"
    assert table["n_passes"].tolist() == [1, 2, 3, 4, 5]  # of an item without a SI-SDR as well
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["metrics"]["n_passes"]["mean"] == 3
    assert summary["metrics"]["n_passes"]["std"] == pytest.approx(2**0.5)
    assert {name: FigureInfo(**info) for name, info in summary["figures"].items()} == Counting.figures


def test_a_model_without_figures_has_no_such_column(tmp_path, evaluation):
    write_tables(evaluation, tmp_path, {})
    assert list(pd.read_csv(tmp_path / "utterances.csv")) == ["id", "name", "n_samples", *columns(evaluation.metrics)]
    assert json.loads((tmp_path / "summary.json").read_text())["figures"] == {}


@pytest.mark.parametrize(
    ("declared", "reported", "message"),
    [
        (["a"], {"b": torch.ones(1)}, r"Counting must report its figures \['a'\], got \['b'\]"),
        (["a"], {"a": torch.ones(2)}, r"figure 'a' must be \[1\], one for each item, got \[2\]"),
        (["si_sdr_i"], {}, "must have a name of its own, got the column 'si_sdr_i'"),
        (["a", "b"], {}, "one figure of Counting may be the cost, got a, b"),
    ],
)
def test_figures_that_do_not_fit_are_refused(dataset, declared, reported, message):
    model = Counting(dataset)
    model.figures = {name: FigureInfo(name, is_cost=True) for name in declared}
    model.forward_with_figures = lambda mixture: (model(mixture), reported)
    with pytest.raises(ValueError, match=message):
        evaluate(model, dataset, HerePool(("si_sdr",)))


def test_fallbacks_are_counted(tmp_path):
    evaluation = Evaluation(("si_sdr",), fallbacks={"mix-1": "pivots"})
    evaluation.rows.append({"id": 0, "name": "a", "n_samples": 1, "input_si_sdr": 0.0, "si_sdr": 1.0, "si_sdr_i": 1.0})
    write_tables(evaluation, tmp_path, {})
    assert json.loads((tmp_path / "summary.json").read_text())["reference_fallbacks"] == {"mix-1": "pivots"}


def test_sources_with_classes_are_listed_and_summed_up(tmp_path):
    dataset = Speech(4, spoilt=[3])
    dataset.classes, dataset.labels = ("env", "speech"), np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1], [0, 0, 0]])
    found = evaluate(Oracle(dataset), dataset, HerePool(("si_sdr",)))
    write_tables(found, tmp_path, {})
    table = pd.read_csv(tmp_path / "sources.csv")
    assert table["class"].tolist() == [dataset.classes[label] for label in dataset.labels.flatten()]
    assert table["source"].tolist() == [0, 1, 2] * 4
    means = table.groupby("id")["si_sdr_i"].mean()
    np.testing.assert_allclose(means, [row["si_sdr_i"] for row in found.rows], rtol=1e-4)
    assert table[table["id"] == 3]["si_sdr"].isna().all()  # a silent source leaves nothing of its mixture
    classes = json.loads((tmp_path / "summary.json").read_text())["classes"]
    assert {name: values["n"] for name, values in classes.items()} == {"env": 2, "speech": 7}
    dataset.labels[0, 0] = -1  # no class
    assert len(evaluate(Oracle(dataset), dataset, HerePool(("si_sdr",))).sources) == 11
    assert classes["env"]["mean"] == pytest.approx(table[table["class"] == "env"]["si_sdr_i"].mean(), rel=1e-4)


class Damaged(Speech):
    """The same; item 1 holds a NaN, and item 2 has a file that cannot be decoded."""

    def read(self, row, start, stop):
        mixture, sources = super().read(row, start, stop)
        if row == 1:
            mixture[7] = np.nan
        if row == 2:
            raise OSError("Input/output error")
        return mixture, sources


class Moody(Oracle):
    """Fails on item 3, forgets samples of item 4, and gives NaN for item 5."""

    def forward(self, mixture):
        item = (mixture.shape[1] - 6000) // 10
        if item == 3:
            raise RuntimeError("the kernel is longer than the input\n at line 7")
        estimates = super().forward(mixture)
        return {4: estimates[..., 1:], 5: estimates * float("nan")}.get(item, estimates)


def test_items_that_cannot_be_measured_are_named_and_the_others_measured(tmp_path):
    dataset = Damaged(7)
    steps = []
    found = evaluate(Moody(dataset), dataset, HerePool(("si_sdr", "stoi")), advance=lambda: steps.append(1))
    assert len(steps) == 7
    assert found.broken == {
        "mix-1": "audio must be finite, got NaN or infinite samples in item 'mix-1'",
        "mix-2": "OSError: Input/output error",
        "mix-3": "RuntimeError: the kernel is longer than the input",
        "mix-4": "the model must give [3, 6040] (sources, samples) for 'mix-4', got [3, 6039]",
        "mix-5": "the estimates are not finite",
    }
    assert [row["name"] for row in found.rows if np.isfinite(row["si_sdr"])] == ["mix-0", "mix-6"]
    whole = evaluate(Oracle(dataset), Speech(1), HerePool(("si_sdr", "stoi")))
    assert {**found.rows[0], "input_snr": 0} == {**whole.rows[0], "input_snr": 0}  # it is NaN without noise
    write_tables(found, tmp_path, {})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["broken"] == found.broken
    assert summary["failures"]["stoi"] == list(found.broken)
    assert summary["metrics"]["si_sdr_i"]["n"] == 2
