from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.report import page as page_module
from asteroid_stab.report.configuration import configuration
from asteroid_stab.report.distribution import evaluation
from asteroid_stab.report.listening import listening
from asteroid_stab.report.overview import overview
from asteroid_stab.report.page import SECTIONS, render, write
from asteroid_stab.report.parts import Note, Section
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.report.training import training

VOID = {"meta", "link", "img", "line", "path", "use", "rect", "br", "input"}


class Page(HTMLParser):
    """The elements of a page as (tag, attributes, text directly in it), and those that were never closed."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[str] = []
        self._inside: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID or (tag in ("use", "path") and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)
            self._inside.append(self.elements[-1][2])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self._inside.pop()

    def handle_data(self, data):
        if self._inside:
            self._inside[-1].append(data)

    def all(self, tag, **attributes):
        """(attributes, text) of the elements with the tag and the attributes."""
        return [
            (attrs, "".join(text).strip())
            for name, attrs, text in self.elements
            if name == tag and all(attrs.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]

    def texts(self, tag, **attributes):
        return [text for _, text in self.all(tag, **attributes)]


@pytest.fixture(scope="session")
def one(whole_run):
    return render(read_runs([whole_run]))


@pytest.fixture(scope="session")
def three(tmp_path_factory, whole_run):
    from_here = tmp_path_factory.mktemp("three")
    paths = [whole_run]
    for place, name in (("dsd", "toy_convtasnet"), ("", "layers")):
        shutil.copytree(whole_run, from_here / place / name)
        paths.append(from_here / place / name)
    table = pd.read_csv(paths[1] / "metrics.csv").iloc[:5].drop(columns=["train/switch_ratio", "seconds"])
    table.to_csv(paths[1] / "metrics.csv", index=False)
    switches = pd.read_csv(paths[2] / "switches.csv")
    second = switches.assign(layer=1)
    pd.concat([switches, second]).to_csv(paths[2] / "switches.csv", index=False)
    return render(read_runs(paths))


def test_one_run_is_shown_whole(one, whole_run):
    page = Page(one)
    assert page.open == []
    assert page.texts("h1") == ["toy_convtasnet"]
    assert page.texts("h2") == ["Overview", "Training", "Evaluation", "Listen", "Configuration"]
    figures = ["Validation SI-SDRi", "Loss", "Switch ratio", "SI-SDRi over the mixtures", "Percentiles"]
    assert page.texts("h3") == [*figures, "SI-SDRi by difficulty of the input"]
    summary = json.loads((whole_run / "evaluation/test/summary.json").read_text())["metrics"]["si_sdr_i"]
    values = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert values["Test SI-SDRi"] == f"{summary['mean']:.2f} ± {summary['std']:.2f} dB"
    assert values["Test median"] == f"{summary['p50']:.2f} dB"
    table = pd.read_csv(whole_run / "metrics.csv")
    assert values["Best validation SI-SDRi"] == f"{table['val/si_sdr_i'].max():.2f} dB"
    assert values["Final switch ratio"] == f"{100 * table['train/switch_ratio'].iloc[-1]:.1f} %"
    assert values["Epochs"] == "12"
    assert values["Training time"] == "1 min 54 s"
    assert values["Date"] == "2026-11-20 14:03"
    assert values["Git"] == "0123456789ab, with uncommitted changes"
    assert values["Versions"] == "Python 3.11.2, asteroid-stab 0.1.0, asteroid 0.7.0, torch 2.11.0"
    assert values["Device"] == "cpu, Linux x86_64"
    assert "asteroid-stab train baseline/toy seed=0" in page.texts("code")
    assert page.texts("pre")[0] == (whole_run / "config.yaml").read_text().strip()


def test_the_percentiles_are_those_of_the_summary(one, whole_run):
    summary = json.loads((whole_run / "evaluation/test/summary.json").read_text())["metrics"]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', one)
    cells = {name: re.findall(r"<td>(.*?)</td>", row) for name, row in rows}
    assert list(cells)[:5] == ["SI-SDRi (dB)", "SDRi (dB)", "STOIi", "PESQi", "SI-SDR (dB)"]
    for label, metric, digits in (("SI-SDRi (dB)", "si_sdr_i", 2), ("input STOI", "input_stoi", 3)):
        keys = ["mean", "std", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99"]
        wanted = [f"{summary[metric][key]:.{digits}f}".replace("-", "−") for key in keys]
        assert cells[label] == [str(summary[metric]["n"]), *wanted]  # the number of mixtures beside their mean


def test_nothing_is_asked_for_from_outside(one, three):
    for text in (one, three):
        page = Page(text)
        for tag, attributes, _ in page.elements:
            for name in ("src", "href", "srcset", "action", "data", "poster"):
                target = attributes.get(name)
                assert target is None or target.startswith(("#", "data:")), f"<{tag} {name}={target[:60]}>"
        assert not re.search(r"https?://|@import|url\((?!#)", text)
        assert len(text) < 5e6


def test_every_reference_inside_the_page_has_its_goal(three):
    ids = [attributes["id"] for _, attributes, _ in Page(three).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="|url\()#([\w-]+)', three))
    assert len(used) > 20
    assert used <= set(ids)


def test_it_is_usable_without_sight(one):
    page = Page(one)
    assert page.all("html", lang="en")
    assert len(page.all("svg", role="img")) == 6
    assert all(len(attributes["aria-label"]) > 40 for attributes, _ in page.all("svg", role="img"))
    assert all(attributes["alt"].startswith("Spectrogram of ") for attributes, _ in page.all("img"))
    assert all(attributes.get("scope") in ("col", "row") for attributes, _ in page.all("th"))
    assert all(attributes["aria-label"] for attributes, _ in page.all("audio"))
    assert len(page.texts("caption")) == len(page.all("table"))


def test_points_tell_their_values(one, whole_run):
    titles = Page(one).texts("title")
    table = pd.read_csv(whole_run / "metrics.csv")
    assert f"toy_convtasnet, epoch 4: {table['val/si_sdr_i'][3]:.2f} dB" in titles
    row = pd.read_csv(whole_run / "evaluation/test/utterances.csv").iloc[7]
    wanted = f"mix_0007: input {row['input_si_sdr']:.2f} dB, SI-SDRi {row['si_sdr_i']:.2f} dB"
    assert wanted.replace("-0", "−0").replace(" -", " −") in titles


def test_three_items_can_be_heard(one):
    page = Page(one)
    assert [text.partition(":")[0] for text in page.texts("h4")] == ["Best", "Median", "Worst"]
    assert len(page.all("audio")) == 3 * 5
    assert page.texts("h5")[:5] == ["Mixture", "Estimate 1", "Reference 1", "Estimate 2", "Reference 2"]
    assert all(attributes["src"].startswith("data:audio/wav;base64,UklGR") for attributes, _ in page.all("audio"))


def test_several_runs_are_compared(three):
    page = Page(three)
    assert page.open == []
    assert page.texts("h1") == ["3 runs compared"]
    names = page.texts("span", class_="named")[:3]
    assert names[2] == "layers"
    assert names[0] != names[1]
    assert [name.split("/")[-1] for name in names[:2]] == ["toy_convtasnet"] * 2
    results = dict(re.findall(r"</svg>([^<]*)</span></th>((?:<td>.*?</td>)*)</tr>", three[: three.index("</table>")]))
    cells = {name: re.findall("<td>(.*?)</td>", row) for name, row in results.items()}
    assert [cells[name][4] for name in names] == ["12", "5", "12"]
    assert [cells[name][6] for name in names] == ["1 min 54 s", "–", "1 min 54 s"]
    assert "By layer: layers" in page.texts("h3")
    assert len(page.all("audio")) == 45
    assert "All runs have the same configuration." in page.texts("p", class_="note wide")
    # every line of a run has its colour, in the legends and in the figures
    for variable in ("--c0", "--c1", "--c2", "--o0", "--o7"):
        assert three.count(f"stroke: var({variable})") + three.count(f'stroke="var({variable})"') >= 2


def test_settings_that_differ_are_listed(make_run):
    paths = [make_run("a", seed=1, n_src=2, seconds=0.1), make_run("b", seed=2, n_src=3, seconds=0.1)]
    with open(paths[1] / "config.yaml", "a") as file:
        file.write("stabilizer: {dsd: {epsilon_db: 1.0}}\n")
    text = render(read_runs(paths), sections=[configuration])
    table = text[text.index("Settings that differ</caption>") :]
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', table[: table.index("</table>")])
    assert rows == [
        ("seed", "1", "2"),
        ("data.n_src", "2", "3"),
        ("model.n_src", "2", "3"),
        ("stabilizer.dsd.epsilon_db", "absent", "1.0"),
    ]


def test_names_are_shown_not_run(make_run):
    evil = '<script>alert("x")</script>&amp;\'"'
    path = make_run("<img src=x onerror=alert(1)>")
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file)
    table["name"] = evil
    table.to_csv(file, index=False)
    for name in ("versions.json", "evaluation/test/summary.json", "evaluation/test/examples/examples.json"):
        content = json.loads((path / name).read_text())
        for entry in content if isinstance(content, list) else [content]:
            for key in ("command", "name", "recipe", "device"):
                entry[key] = evil
            if "failures" in entry:
                entry["failures"], entry["failure_reasons"] = {evil: [evil]}, {evil: {evil: evil}}
                entry["metrics"][evil] = entry["metrics"]["pesq_i"]
        (path / name).write_text(json.dumps(content))
    (path / "config.yaml").write_text(f"data: {json.dumps(evil)} # </pre></details><script>\n")
    text = render(read_runs([path]))
    page = Page(text)
    assert page.open == []
    assert len(page.all("script")) == 1
    assert all("onerror" not in attributes for _, attributes, _ in page.elements)
    assert page.texts("h1") == ["<img src=x onerror=alert(1)>"]
    assert evil in page.texts("code")
    assert any(title.startswith(evil) for title in page.texts("title"))


def test_many_runs_keep_the_figures_near_the_top(whole_run, tmp_path):
    paths = [tmp_path / f"run{i}" for i in range(4)]
    for path in paths:
        path.mkdir()
        shutil.copy(whole_run / "config.yaml", path)
        shutil.copy(whole_run / "metrics.csv", path)
    page = Page(render(read_runs(paths), sections=[overview]))
    assert "Where the runs come from" in page.texts("summary")
    assert len(page.all("article", class_="card")) == 4
    page = Page(render(read_runs(paths[:3]), sections=[overview]))
    assert "Where the runs come from" not in page.texts("summary")
    assert len(page.all("article", class_="card")) == 3


def test_a_run_before_its_first_epoch_says_so(tmp_path):
    path = tmp_path / "fresh run"
    path.mkdir()
    (path / "config.yaml").write_text("data: {}\n")
    text = render(read_runs([path]))
    page = Page(text)
    notes = page.texts("p", class_="note wide")
    assert notes[0].startswith("fresh run has no metrics.csv: no epoch has ended. Run")
    assert notes[1].startswith("fresh run has not been evaluated on the test split. Run")
    assert notes[2].startswith("fresh run has no switches.csv")
    assert page.texts("code")[:2] == [
        f"asteroid-stab train resume='{path}'",
        f"asteroid-stab evaluate '{path}' --split test",
    ]
    assert page.texts("h2") == ["Overview", "Training", "Configuration"]
    assert dict(zip(page.texts("dt"), page.texts("dd"), strict=True))["Recipe"] == "not recorded"
    assert not page.all("audio")


def test_an_evaluation_without_sounds_says_so(make_run):
    path = make_run()
    shutil.rmtree(path / "evaluation/test/examples")
    notes = Page(render(read_runs([path]), sections=[listening(3.5, 12.0)])).texts("p", class_="note wide")
    assert any("the evaluation kept no sounds" in note for note in notes)


def test_a_single_epoch_has_no_switches_yet(make_run):
    path = make_run(n_epochs=1, seconds=0.1)
    page = Page(render(read_runs([path]), sections=[training]))
    assert any("defined from the second epoch on" in note for note in page.texts("p", class_="note wide"))
    assert "Switch ratio" not in page.texts("h3")
    assert "Validation SI-SDRi" in page.texts("h3")


def test_what_the_numbers_leave_out_is_said(make_run):
    path = make_run()
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file)
    table.loc[:1, "si_sdr_i"] = np.nan
    table.loc[2, "si_sdr_i"] = -np.inf
    table.to_csv(file, index=False)
    metrics = pd.read_csv(path / "metrics.csv")
    metrics.loc[2:3, "train/silent_sources"] = 4
    metrics.loc[5, "train/nonfinite_items"] = 1
    metrics.to_csv(path / "metrics.csv", index=False)
    notes = Page(render(read_runs([path]), sections=[training, evaluation])).texts("p", class_="note wide")
    assert notes == [
        "toy_convtasnet: the training left out 8 silent sources, 1 non-finite item, counted over all epochs.",
        "toy_convtasnet: the SI-SDRi is undefined for 3 of 60 mixtures; the pictures leave these out.",
        "toy_convtasnet: PESQ could not be computed for 1 mixture (mix_0003: no utterances detected).",
    ]


def test_an_evaluation_of_an_older_model_says_so(make_run):
    path = make_run()
    (path / "best_model.pth").write_bytes(b"new")
    file = path / "evaluation/test/summary.json"
    summary = json.loads(file.read_text())
    for model, notes in ((b"old", 1), (b"new", 0)):
        file.write_text(json.dumps(summary | {"model_sha256": hashlib.sha256(model).hexdigest()}))
        shown = Page(render(read_runs([path]), sections=[evaluation])).texts("p", class_="note wide")
        assert sum("written after this evaluation of an earlier model" in note for note in shown) == notes


def test_a_metric_that_is_undefined_for_all_mixtures_has_no_row(make_run):
    path = make_run()
    file = path / "evaluation/test/summary.json"
    summary = json.loads(file.read_text())
    summary["metrics"]["input_sir"] = dict.fromkeys(summary["metrics"]["si_sdr"])
    summary["metrics"]["input_sar"] = summary["metrics"]["si_sdr"]  # of no use
    file.write_text(json.dumps(summary))
    rows = Page(render(read_runs([path]), sections=[evaluation])).texts("th", scope="row")
    assert "input SI-SDR (dB)" in rows
    assert "input SIR (dB)" not in rows
    assert "input SAR (dB)" not in rows


def test_an_evaluation_in_which_nothing_is_defined_still_gives_a_page(make_run):
    path = make_run()
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file)
    table["si_sdr_i"] = np.nan
    table.to_csv(file, index=False)
    page = Page(render(read_runs([path]), sections=[evaluation]))
    assert "Percentiles" not in page.texts("h3")
    assert any("undefined for 60 of 60 mixtures" in note for note in page.texts("p", class_="note wide"))


def test_one_mixture_is_enough(make_run):
    path = make_run()
    file = path / "evaluation/test/utterances.csv"
    pd.read_csv(file).iloc[:1].to_csv(file, index=False)
    assert "Percentiles" in Page(render(read_runs([path]), sections=[evaluation])).texts("h3")


def test_a_new_section_is_a_function(whole_run):
    def by_class(runs):
        return Section("classes", "By class", [Note(f"{len(runs)} run & its classes")])

    def nothing(runs):
        return None

    page = Page(render(read_runs([whole_run]), sections=[*SECTIONS[:1], nothing, by_class]))
    assert page.texts("h2") == ["Overview", "By class"]
    assert page.texts("a", href="#classes") == ["By class"]
    assert page.texts("p", class_="note wide") == ["1 run & its classes"]


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="runs must hold at least one run, got none"):
        render([])


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write("old", path)

    def full(source, goal):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StabError, match=r"cannot be written to '.*report.html': No space left on device"):
        write("new", path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    write("new", path)
    assert path.read_text() == "new"


def test_the_template_and_its_style_are_beside_the_module():
    folder = os.listdir(os.path.dirname(page_module.__file__))
    assert {"page.html.j2", "parts.html.j2", "colours.css", "parts.css", "style.css", "player.js"} <= set(folder)
