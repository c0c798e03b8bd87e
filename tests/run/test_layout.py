"""The paths of a run folder: what they are, and that nobody else spells them."""

import ast
import os
import re
from pathlib import Path

import pytest

from asteroid_stab.run import layout
from asteroid_stab.run.layout import ExamplesLayout, RunLayout, study_runs

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "asteroid_stab"


def test_paths_of_a_run_stay_what_they_were():
    """Old run folders are read by these names, and other people's scripts know them."""
    run = RunLayout("r")
    assert {name: path.as_posix() for name, path in vars(run).items()} == {
        "root": "r",
        "config": "r/config.yaml",
        "versions": "r/versions.json",
        "model": "r/best_model.pth",
        "metrics": "r/metrics.csv",
        "switches": "r/switches.csv",
        "last_checkpoint": "r/checkpoints/last.ckpt",
        "within_checkpoint": "r/checkpoints/within.ckpt",
        "best_checkpoint": "r/checkpoints/best.ckpt",
        "first_epoch": "r/checkpoints/first_epoch.txt",
        "tensorboard": "r/tensorboard",
        "mlflow": "r/mlflow.db",
        "items": "r/assignments/items.csv",
        "fingerprint": "r/assignments/fingerprint.txt",
        "data_map": "r/data_map.npy",
        "item_weights": "r/item_weights.npy",
        "report": "r/report.html",
    }
    paths = [
        run.assignments(3),
        run.stage_model(2),
        run.epoch_model(12),
        run.whole_labels("train", 4, "0123456789abcdef0123"),
        run.whole_switches("train"),
        run.whole_switches("test", 10),
    ]
    assert [path.as_posix() for path in paths] == [
        "r/assignments/epoch_0003.npy",
        "r/stages/stage_2.pth",
        "r/models/epoch_0012.pth",
        "r/assignments_whole/train_0004_0123456789abcdef.npy",
        "r/switches_whole_train.csv",
        "r/switches_whole_test_first10.csv",
    ]


def test_paths_of_an_evaluation_stay_what_they_were():
    one = RunLayout("r").evaluation("test")
    paths = [one.folder, one.summary, one.utterances, one.sources, one.examples.folder, one.examples.listing]
    paths += [one.examples.mixture("best"), one.examples.source("best", 1), one.examples.estimate("worst", 2)]
    assert [path.as_posix() for path in paths] == [
        "r/evaluation/test",
        "r/evaluation/test/summary.json",
        "r/evaluation/test/utterances.csv",
        "r/evaluation/test/sources.csv",
        "r/evaluation/test/examples",
        "r/evaluation/test/examples/examples.json",
        "r/evaluation/test/examples/best/mixture.wav",
        "r/evaluation/test/examples/best/source_1.wav",
        "r/evaluation/test/examples/worst/estimate_2.wav",
    ]
    assert one.run.root == Path("r")


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_numbered_files_are_found_by_number_and_nothing_else_is(tmp_path):
    run, sounds = RunLayout(tmp_path), ExamplesLayout(tmp_path / "sounds")
    assert (run.epoch_models(), run.all_assignments(), sounds.sources("best")) == ({}, {}, [])
    touch(run.epoch_model(10_000), run.epoch_model(2), tmp_path / "models" / ".7.epoch_0003.pth")
    touch(run.assignments(1), run.items, tmp_path / "assignments" / "epoch_one.npy")
    touch(*(sounds.source("best", j) for j in (10, 9, 1)), sounds.estimate("best", 2), sounds.mixture("best"))
    assert list(run.epoch_models().items()) == [(2, run.epoch_model(2)), (10_000, run.epoch_model(10_000))]
    assert run.all_assignments() == {1: run.assignments(1)}
    assert sounds.sources("best") == [sounds.source("best", j) for j in (1, 9, 10)]
    assert sounds.estimates("best") == [sounds.estimate("best", 2)]


def test_variants_of_a_split_are_found(tmp_path):
    run = RunLayout(tmp_path)
    touch(*(run.evaluation(name).summary for name in ("test", "test_stage2", "test_stage1", "train_stage1")))
    assert [one.folder.name for one in run.variants("test")] == ["test_stage1", "test_stage2"]
    assert run.evaluation("test", "stage1,iterations2").folder == tmp_path / "evaluation" / "test_stage1_iterations2"


def test_a_model_of_a_run_that_was_moved_is_found():
    before, now = RunLayout("before"), RunLayout("now")
    assert now.moved(before.model) == now.model
    assert now.moved(before.stage_model(2)) == now.stage_model(2)


def test_runs_of_a_study_are_found(tmp_path):
    touch(*(RunLayout(tmp_path / place).config for place in ("a/1", "a/2", "b", "c/1/2")))
    assert {run.root for run in study_runs(tmp_path)} == {tmp_path / "a" / "1", tmp_path / "a" / "2"}


# Nobody else spells them.


def texts(tree):
    """The node and the text of every string, docstrings excluded; ``{}`` stands for what an f-string fills in."""
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(node.value)
        if isinstance(node, ast.JoinedStr):
            inner |= set(node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield node, node.value


def spelled():
    """The names of files and of folders that ``layout`` spells; a suffix alone (``{}.log``) is no name."""
    found = {text for _, text in texts(ast.parse(Path(layout.__file__).read_text(encoding="utf-8")))}
    names = {name for text in found for name in text.split("/")}
    files = {name for name in names if re.fullmatch(r"[\w{}]*\w[\w{}]*\.\w+", name)}
    return files, {name for name in names if re.fullmatch(r"[a-z_]+[a-z]", name)}


FILES, FOLDERS = spelled()
_FILE = re.compile(r"(?<![\w.-])(" + "|".join(re.escape(f).replace(r"\{\}", r"[\w{}*?]+") for f in FILES) + r")(?!\w)")
_FOLDER = re.compile(r"(?<![\w.-])(" + "|".join(FOLDERS) + ")/")
_JOINS = ("Path", "joinpath", "with_name", "glob", "rglob")


def paths_in(tree):
    """The strings that hold a file's name, or a folder's name before ``/`` or where it is joined to a path.

    A folder's name alone may be something else: ``"evaluation"`` is also a section of the report.
    """
    joined = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            joined |= {node.left, node.right}
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _JOINS:
            joined |= set(node.args)
    for node, text in texts(tree):
        if _FILE.search(text) or _FOLDER.search(text) or (node in joined and text in FOLDERS):
            yield text


def test_names_of_the_layout_are_all_known():
    assert {"config.yaml", "last.ckpt", "stage_{}.pth", "epoch_{}.npy", "summary.json", "mixture.wav"} <= FILES
    assert {"checkpoints", "stages", "models", "assignments", "assignments_whole", "evaluation", "examples"} <= FOLDERS


@pytest.mark.parametrize(
    ("code", "paths"),
    [
        ("run / 'checkpoints' / 'last.ckpt'", ["checkpoints", "last.ckpt"]),
        ("print(f'{run} has no metrics.csv')", ["{} has no metrics.csv"]),
        ("f'stage_{n}.pth'", ["stage_{}.pth"]),
        ("folder.glob('epoch_*.npy')", ["epoch_*.npy"]),
        ("open(run + '/evaluation/test')", ["/evaluation/test"]),
        ("Path(run, 'models')", ["models"]),
        ("Section('evaluation'); x = models / y; 'asteroid_stab.models'; 'my_metrics.csv'", []),
        ("def f():\n    '''Writes metrics.csv.'''", []),
    ],
)
def test_spelled_paths_are_seen(code, paths):
    assert sorted(paths_in(ast.parse(code))) == sorted(paths)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_module_spells_a_path_of_a_run_folder(file):
    if file.relative_to(PACKAGE).as_posix() != "run/layout.py":
        assert not list(paths_in(ast.parse(file.read_text(encoding="utf-8")))), "ask RunLayout for it"


@pytest.mark.parametrize("file", sorted((ROOT / "egs").rglob("*.sh")), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_script_spells_a_path_of_a_run_folder(file):
    assert not _FILE.search(file.read_text(encoding="utf-8"))


def test_what_is_no_file_is_no_model(tmp_path):
    """A pipe in somebody's folder would be waited for."""
    run = RunLayout(tmp_path)
    run.epoch_model(1).parent.mkdir()
    run.epoch_model(0).touch()
    os.mkfifo(run.epoch_model(1))
    run.epoch_model(2).mkdir()
    assert run.epoch_models() == {0: run.epoch_model(0)}
