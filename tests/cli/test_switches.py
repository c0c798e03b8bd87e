"""asteroid-stab switches: offline counts on whole mixtures."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from runs import SMALL

from asteroid_stab.atomic import making
from asteroid_stab.callbacks import AssignmentTracker, EpochModels
from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.whole_labels import whole_labels
from asteroid_stab.models import load_model
from asteroid_stab.run.layout import RunLayout


def test_on_fixed_crops_it_agrees_with_the_tracker(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model):
    """All items are one batch and whole, so epoch e + 1 is labelled with the model that epoch e ended with."""
    data = tiny_data(n_train=16, n_src=3, segment_s=0.15, batch_size=16, spoil={3: 1})
    tracker = AssignmentTracker()
    trainer = tiny_trainer(tmp_path, callbacks=[tracker, EpochModels()], max_epochs=6)
    trainer.fit(tiny_system(tiny_model(3), lr=0.1), datamodule=data)
    models = RunLayout(tmp_path).epoch_models()
    assert list(models) == list(range(6))
    whole = {epoch: whole_labels(load_model(file), data.test_dataset("train")) for epoch, file in models.items()}
    for epoch in range(5):
        online = np.load(tmp_path / "assignments" / f"epoch_{epoch + 1:04d}.npy")[-1]
        seen = (online >= 0).all(1) & (whole[epoch] >= 0).all(1)
        assert seen.sum() >= 15
        np.testing.assert_array_equal(online[seen], whole[epoch][seen])
    assert sum(row["n_switched"] for row in tracker.rows) > 0


def test_only_some_epochs_are_kept(tmp_path, tiny_data, tiny_trainer, tiny_system):
    trainer = tiny_trainer(tmp_path, callbacks=[EpochModels(2)], max_epochs=4)
    trainer.fit(tiny_system(), datamodule=tiny_data())
    assert list(RunLayout(tmp_path).epoch_models()) == [0, 2]
    with pytest.raises(StabError, match="every_n_epochs must be at least 1, got 0"):
        EpochModels(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("switches") / "run"
    words = [*SMALL, "data.n_utterances=1", "data.n_train=16", "logger=none", "trainer.max_epochs=3"]
    assert main(["train", "baseline/toy", f"run_dir={run}", *words, "callbacks=[tracker,epoch_models]"]) == 0
    return run


def test_the_command_counts_writes_and_goes_on(run, capsys):
    assert main(["switches", str(run), "--limit", "10"]) == 0
    assert "switches on whole mixtures" in capsys.readouterr().out
    table = pd.read_csv(run / "switches_whole_train_first10.csv")
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["n_compared"].tolist() == [0, 10, 10]
    labels = sorted((run / "assignments_whole").glob("train_*.npy"))
    assert len(labels) == 3
    a, b = (np.load(file) for file in labels[:2])
    assert table["n_switched"][1] == (a != b).any(1).sum()
    before = [file.stat().st_mtime_ns for file in labels]
    assert main(["switches", str(run), "--limit", "10"]) == 0
    assert [file.stat().st_mtime_ns for file in sorted((run / "assignments_whole").glob("train_*.npy"))] == before
    assert main(["switches", str(run), "--split", "test"]) == 0
    assert pd.read_csv(run / "switches_whole_test.csv")["n_compared"].tolist() == [0, 4, 4]
    assert pd.read_csv(run / "switches_whole_train_first10.csv")["n_compared"].tolist() == [0, 10, 10]


def test_two_processes_do_not_count_the_same_at_once(run, capsys):
    table = RunLayout(run).whole_switches("test", 3)
    with making(table, "wait"):
        assert main(["switches", str(run), "--split", "test", "--limit", "3"]) == 2
        assert f"{table} is being written by another process: wait for its end" in capsys.readouterr().err
        assert not table.exists()
        assert main(["switches", str(run), "--split", "test", "--limit", "2"]) == 0
    assert main(["switches", str(run), "--split", "test", "--limit", "3"]) == 0
    assert table.exists()


def test_what_cannot_be_counted_is_said(tmp_path, run, capsys):
    words = [*SMALL, "data.n_utterances=1", "data.n_train=16", "logger=none", "trainer.max_epochs=1"]
    assert main(["train", "baseline/toy", f"run_dir={tmp_path / 'run'}", *words]) == 0
    assert main(["switches", str(tmp_path / "run")]) == 2
    assert "holds models of 0 epoch(s), and two are needed" in capsys.readouterr().err
    assert main(["switches", str(run), "n_src=3"]) == 2
    assert "an override must be data.KEY=VALUE, got 'n_src=3'" in capsys.readouterr().err
    torch.save({"weights": 1}, run / "models" / "epoch_0009.pth")
    assert main(["switches", str(run), "--limit", "2"]) == 2
    assert "epoch_0009.pth' lacks model_name" in capsys.readouterr().err
    (run / "models" / "epoch_0009.pth").unlink()


def test_one_source_cannot_switch(tmp_path, esc, capsys):
    words = ["data.n_train=4", "data.n_valid=4", "data.n_test=4", "data.base.n_utterances=1", f"data.noise_root={esc}"]
    words += [word for word in SMALL if word.startswith(("model.", "scheduler"))]
    words += ["loader.segment_s=0.5", "loader.batch_size=4", "logger=none", "trainer.max_epochs=2"]
    assert main(["train", "ssl/toy_se", f"run_dir={tmp_path / 'r'}", *words, "callbacks=[epoch_models]"]) == 0
    assert main(["switches", str(tmp_path / "r")]) == 2
    assert "has one source in a mixture, whose labels cannot switch" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_labels_is_named(tmp_path, run, capsys):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("assignments_whole"))
    (tmp_path / "run" / "assignments_whole").touch()
    assert main(["switches", str(tmp_path / "run")]) == 2
    assert "run/assignments_whole': File exists" in capsys.readouterr().err


def test_a_page_shows_one_item_in_several_runs(tmp_path, run, capsys):
    """The item that has switched most often, by a count of its own."""
    shutil.copytree(run, tmp_path / "second", ignore=shutil.ignore_patterns("models"))
    page, picture = tmp_path / "item.html", tmp_path / "item.svg"
    assert main(["switches", str(run), str(tmp_path / "second"), "--page", str(page), "--picture", str(picture)]) == 0
    assert capsys.readouterr().out == f"{picture}\n{page}\n"
    tables = [np.load(file)[-1] for file in sorted((run / "assignments").glob("epoch_*.npy"))]
    seen = [(table >= 0).all(1) for table in tables]
    pairs = zip(tables, tables[1:], seen, seen[1:], strict=False)
    item = sum(((a != b).any(1) & s & t).astype(int) for a, b, s, t in pairs).argmax()
    text = page.read_text()
    assert f"<h1>Labels of item {item}</h1>" in text
    assert text.count("<audio") == 3
    assert "Labels: run" in text
    assert "Labels: second" in text
    assert f"Labels of mixture {item}: second" in picture.read_text()
    name = pd.read_csv(run / "assignments/items.csv", dtype=str)["name"][2]
    assert main(["switches", str(run), "--item", name, "--page", str(page)]) == 0
    assert "<h1>Labels of item 2</h1>" in page.read_text()


def test_a_page_that_cannot_be_made_is_explained(tmp_path, run, capsys):
    page = ["--page", str(tmp_path / "item.html")]
    (tmp_path / "mine.html").write_text("mine")
    shutil.copytree(run, tmp_path / "other")
    (tmp_path / "other/assignments/fingerprint.txt").write_text("another")
    for words, message in (
        ([str(tmp_path / "other")], "one run at a time is counted, got "),
        (["--item", "0"], "--item chooses the item of a page or a picture: --page FILE or --picture FILE writes one"),
        (["--picture", str(tmp_path / "a.png")], "--picture must end in .svg, got "),
        (["--page", str(tmp_path / "mine.html")], "is no page of this program, and would be replaced: --page names"),
        ([str(tmp_path / "other"), *page], "was trained on other items than"),
        ([str(tmp_path / "none"), *page], "is no run folder: it has no config.yaml"),
        (["--item", "999", *page], "--item must be an id from 0 to 15 or a name, got '999'"),
        (["data.seed=1", *page], "data has no key 'seed'"),
    ):
        assert main(["switches", str(run), *words]) == 2, words
        assert message in capsys.readouterr().err
    assert not (tmp_path / "item.html").exists()
