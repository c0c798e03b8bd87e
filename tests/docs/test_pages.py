"""What the pages promise: every metric that the code logs has a line, and their examples run."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from metric_page import documented, undocumented
from notebooks import FOLDER, sources

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


# --- examples ---


def example(page):
    """The first block of Python on a page."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]


def written_by(notebook):
    """The module that a notebook writes."""
    cells = [source for source in sources(FOLDER / f"{notebook}.ipynb") if source.startswith("%%writefile")]
    (module,) = cells
    return module.partition("\n")[2]


def test_the_stabilizer_of_the_tutorial_weighs_hard_items():
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.losses import ExactPITLossWrapper
    from asteroid_stab.stabilizers import Stabilization

    names = {}
    exec(written_by("own_stabilizer"), names)
    part = names["HardFirst"](per_db=0.1, n_epochs=1)
    stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [part], items=2)
    sources = torch.randn(2, 3, 80, generator=torch.Generator().manual_seed(0))
    est = sources + torch.tensor([0.1, 1.0]).view(2, 1, 1) * torch.randn(2, 3, 80)
    plain = ExactPITLossWrapper(pairwise_neg_sisdr)(est, sources)
    losses = []
    for epoch in range(2):
        stab.begin_epoch(epoch)
        losses.append(stab(est, sources, ids=[0, 1]))
        stab.end_epoch()
    assert losses[0] > plain + 1  # the hard item counts more
    assert torch.isclose(losses[1], plain)
    assert names["HardFirst"]().neutral(None) == "per_db=0 weighs all items alike"


def test_the_model_of_the_tutorial_gives_every_source():
    names = {}
    exec(written_by("own_model"), names)
    for n_samples in (800, 803):
        est = names["TinyMask"](n_src=3)(torch.randn(2, n_samples))
        assert est.shape == (2, 3, n_samples)


def test_the_corpus_of_the_page_feeds_the_loader():
    from asteroid_stab.data import MixtureDataModule

    names = {
        "load_list": lambda root, split: ([f"{split}{i}" for i in range(4)], [900] * 4),
        "load_sources": lambda name, start, stop: np.full((2, stop - start), 0.5, dtype=np.float32),
    }
    exec(example("corpora"), names)
    data = MixtureDataModule(names["MineCorpus"]("x"), segment_s=0.1, batch_size=2)
    data.setup("fit")
    mixture, sources, ids = next(iter(data.train_dataloader()))
    assert (mixture.shape, sources.shape, len(ids)) == ((2, 800), (2, 2, 800), 2)
    assert torch.equal(mixture, sources.sum(1))
