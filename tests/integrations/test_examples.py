"""The examples of the pages run as they stand, and what holds for every integration."""

import ast
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import loops
import pytest
import toolkit_loops
import torch
from asteroid.losses import pairwise_neg_sisdr

import asteroid_stab.integrations
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import Reweighting, SampleDropout

ROOT = Path(asteroid_stab.integrations.__file__).parent
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
OWN_LOOP = (ROOT.parents[1] / "docs" / "own_loop.md").read_text(encoding="utf-8")
MODULES = [file for file in sorted(ROOT.glob("*.py")) if file.name != "__init__.py"]


def blocks(page, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def example(page, word):
    """The block of a page that has ``word``."""
    (found,) = [block for block in blocks(page) if word in block]
    return found


def lines_of_code(file):
    """Lines that are neither blank, comment, docstring nor import."""
    tree, lines = ast.parse(file.read_text(encoding="utf-8")), set()
    with tokenize.open(file) as opened:
        for token in tokenize.generate_tokens(opened.readline):
            if token.string.strip() and token.type != tokenize.COMMENT:
                lines |= {*range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
        for part in [node.body[0]] if documented else [node] if isinstance(node, (ast.Import, ast.ImportFrom)) else []:
            lines -= {*range(part.lineno, part.end_lineno + 1)}
    return len(lines)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_an_integration_has_40_lines(file):
    assert lines_of_code(file) <= 40


@pytest.mark.parametrize("block", blocks(PAGE), ids=range(len(blocks(PAGE))))
def test_an_example_has_15_lines(block):
    assert len([line for line in block.splitlines() if line.strip()]) <= 15


def test_the_package_imports_no_toolkit():
    forbidden = ["speechbrain", "espnet2", "accelerate", *(f"asteroid_stab.integrations.{f.stem}" for f in MODULES)]
    code = (
        f"import sys, asteroid_stab.engine, asteroid_stab.cli.main; print([n for n in {forbidden} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Tones(torch.utils.data.Dataset):
    """Pairs of a mixture and its sources."""

    def __len__(self):
        return 8

    def __getitem__(self, row):
        return loops.Tones()[row][:2]


@pytest.fixture
def names():
    """What the examples take as given."""
    torch.manual_seed(0)
    net = loops.new_model()
    given = {
        "torch": torch, "model": net, "optimizer": loops.new_optimizer(net), "n_epochs": 2, "train_set": Tones(),
        "loss_func": ExactPITLossWrapper(pairwise_neg_sisdr), "SampleDropout": SampleDropout,
        "Reweighting": Reweighting,
    }  # fmt: skip
    exec(example(PAGE, "with_ids"), given)
    given["loader"] = torch.utils.data.DataLoader(given["train_set"], batch_size=4, drop_last=True)
    return given


def test_plain_loop(names, capsys):
    exec(
        example(OWN_LOOP, "from asteroid_stab.losses import"),
        {**names, "est_sources": torch.randn(2, 2, 80), "sources": torch.randn(2, 2, 80)},
    )
    exec(example(OWN_LOOP, "import Reweighting, SampleDropout, Stabilization"), names)
    assert capsys.readouterr().out.count("'switch_ratio'") == 1


def test_module_of_ones_own(names, tmp_path, tiny_trainer):
    import pytorch_lightning as pl

    space = {**names, "asteroid_stab": asteroid_stab}
    __import__("asteroid_stab.callbacks")
    exec(example(OWN_LOOP, "configure_callbacks"), space)

    class Mine(pl.LightningModule):
        configure_callbacks, training_step = space["configure_callbacks"], space["training_step"]

        def __init__(self):
            super().__init__()
            self.model = names["model"]

        def configure_optimizers(self):
            return names["optimizer"]

    trainer = tiny_trainer(tmp_path)
    trainer.fit(Mine(), names["loader"])
    assert trainer.callback_metrics["train/effective_share"] < 1


@pytest.mark.toolkits
def test_speechbrain(names, capsys):
    import speechbrain as sb
    from hyperpyyaml import load_hyperpyyaml

    (yaml,) = blocks(PAGE, "yaml")
    exec(example(PAGE, "import speechbrain"), names)
    dataset = sb.dataio.dataset.DynamicItemDataset({f"tones-{i}": {"row": i} for i in range(8)})

    def read(row):
        mixture, sources, _ = loops.Tones()[int(row)]
        yield torch.as_tensor(mixture)
        yield torch.as_tensor(sources).T

    dataset.add_dynamic_item(read, takes="row", provides=["mix", "sources"])
    dataset.set_output_keys(["id", "mix", "sources"])

    class Transposed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = names["model"]

        def forward(self, mixture):
            return self.net(mixture).transpose(1, 2)

    options = {"device": "cpu", "noprogressbar": True}
    brain = names["Separation"]({"net": Transposed()}, toolkit_loops.new_optimizer, load_hyperpyyaml(yaml), options)
    brain.fit(
        range(1, 3), dataset, dataset, train_loader_kwargs={"batch_size": 4}, valid_loader_kwargs={"batch_size": 4}
    )
    assert capsys.readouterr().out.count("'switch_ratio'") == 1


@pytest.mark.toolkits
def test_espnet(names, tmp_path):
    from espnet2.iterators.abs_iter_factory import AbsIterFactory
    from espnet2.train.distributed_utils import DistributedOption

    class Batches(AbsIterFactory):
        def build_iter(self, epoch, shuffle=None):
            return list(toolkit_loops.espnet_batches())

    names |= {
        "names": toolkit_loops.NAMES, "model": toolkit_loops.espnet_model(None), "train_iter": Batches(),
        "valid_iter": Batches(), "options": toolkit_loops.espnet_options(tmp_path, 2),
        "distributed": DistributedOption(),
    }  # fmt: skip
    exec(example(PAGE, "espnet2"), names)
    assert "switch_ratio" in names["model"].figures


@pytest.mark.toolkits
def test_accelerate(names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(example(PAGE, "Accelerator()").replace("Accelerator()", "Accelerator(cpu=True)"), names)
    assert capsys.readouterr().out.count("'switch_ratio'") == 1
    assert (tmp_path / "after-epoch").is_dir()
