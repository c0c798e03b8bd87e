"""What the pages promise to hold: every metric that the code logs."""

import ast
import re
from pathlib import Path

import pytest
from metric_page import documented, undocumented

from asteroid_stab.metrics.names import COUNTS, INPUT_SNR, METRICS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "asteroid_stab"
LOGGED = re.compile(r"(?:train|val)/[a-z0-9_]+")


def logged_names(source):
    """Names that a module logs as they are: texts such as ``val/loss`` that are passed to a function or compared."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LOGGED.fullmatch(node.value):
            yield node.value


def keys_of_figures(source):
    """Keys of what a module calls figures, or returns from ``end_epoch``: each is logged as ``train/NAME``."""
    for node in ast.walk(ast.parse(source)):
        named = isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and any(
            re.search(r"figures|found|shares", ast.unparse(target))
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        )
        if named:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Subscript):
                yield from _text(target.slice)
            for part in ast.walk(node.value) if node.value is not None else ():
                yield from _keys(part)
        if isinstance(node, ast.FunctionDef) and node.name in ("end_epoch", "epoch_figures"):
            for part in ast.walk(node):
                if isinstance(part, ast.Return):
                    for value in ast.walk(part):
                        yield from _keys(value)
                elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "names":
                    yield from _keys(part.value)


def _keys(node):
    for key in node.keys if isinstance(node, ast.Dict) else [node.key] if isinstance(node, ast.DictComp) else []:
        yield from _text(key)


def _text(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr) and ast.unparse(node)[2:].startswith(("loss_layer", "switch_ratio_layer")):
        yield re.sub(r"\{.*", "N", ast.unparse(node)[2:-1])


def modules():
    for room in ("losses", "stabilizers", "pretext", "engine", "callbacks", "run"):
        yield from sorted((PACKAGE / room).glob("*.py"))


def test_every_name_that_the_code_logs_is_explained():
    missing = {}
    for file in modules():
        source = file.read_text(encoding="utf-8")
        logged = {*logged_names(source)}
        if file.parent.name in ("losses", "stabilizers", "pretext"):
            logged |= {f"train/{key}" for key in keys_of_figures(source)}
        if gaps := undocumented(logged):
            missing[file.relative_to(ROOT).as_posix()] = gaps
    assert missing == {}, "docs/metrics.md has no line for them"


def test_every_name_that_is_explained_is_in_the_code():
    text = "\n".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    for name in documented():
        bare = name.removeprefix("train/").removeprefix("val/").removesuffix("N")
        parts = bare.split("_") if bare.startswith("kept_") else [bare]
        assert all(part in text for part in parts), name


def test_every_column_of_an_evaluation_is_explained():
    assert {*METRICS, INPUT_SNR, *COUNTS} <= documented()


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("figures = {'a': 1, f'loss_layer{r}': 2}", {"a", "loss_layerN"}),
        ("figures['b'] = x", {"b"}),
        ("figures |= {'c': 1}", {"c"}),
        ("def end_epoch(self, comm):\n    return {'kept': 1} if x else {}", {"kept"}),
        ("def end_epoch(self, comm):\n    names = {'d': 'e'}\n    return {}", {"d"}),
        ("def state_dict(self):\n    return {'sums': 1}", set()),
    ],
)
def test_keys_of_figures_are_seen(source, keys):
    assert {*keys_of_figures(source)} == keys


def test_names_in_calls_are_seen():
    assert {*logged_names("self.log_epoch('val/loss', x)\ny = 'train/'\nz = 'see train/loss here'")} == {"val/loss"}
