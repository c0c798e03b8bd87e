"""Latent iterative refinement: the paper's values, and the cells of its tables."""

from pathlib import Path

import numpy as np
import pytest
import torch
from asteroid.masknn.norms import GlobLN
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode
from trees import librispeech

from asteroid_stab.masknn import ExitGate
from asteroid_stab.run.check import build
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.study_rows import filled, read_rows

EGS = Path(__file__).parents[2] / "egs" / "wham"
WHAM = ["sep", "enh", "progressive", "early_exit"]
# Parameters in millions of blocks times sub-blocks, of enhancement and of separation (Table 1).
PARAMS = {1: (0.4, 0.5), 4: (0.8, 1.0), 8: (1.4, 1.5), 16: (2.6, 2.7)}
TABLE_1 = [(1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (1, 1, 16), (1, 4, 1), (1, 4, 2), (1, 4, 3), (1, 4, 4)]
TABLE_1 += [(1, 8, 1), (1, 16, 1), (2, 4, 2)]
TABLE_2 = [(2, 8, 1), (2, 4, 2), (2, 2, 4), (4, 4, 1), (4, 2, 2), (4, 1, 4), (1, 16, 1)]


def rows(name):
    """Name and config of every row of a file."""
    for row in read_rows([EGS / f"{name}.rows"]):
        yield row.name, compose_recipe(row.recipe, [filled(word, "runs", 1) for word in row.words])


def cell(config):
    return config.model.n_blocks, config.model.n_sub_blocks, config.model.n_iterations


def task(config):
    """Which column of the tables a row is; what belongs to it must be whole."""
    kinds = {("enh_single", 1, 1, False): 0, ("sep_noisy", 2, 2, True): 1}
    return kinds[config.data.task, config.data.n_src, config.model.n_src, config.system.noise_in_loss]


@pytest.mark.parametrize("name", WHAM)
def test_recipes_have_the_papers_values(name):
    config = compose_recipe(f"lir/wham_{name}")
    assert (config.loader.segment_s, config.data.sample_rate, config.loader.batch_size) == (4.0, 8000, 4)
    assert (config.model.n_filters, config.model.kernel_size, config.model.upsampling_depth) == (512, 21, 5)
    assert (config.model.bn_chan, config.model.noise_slot, config.model.sub_block) == (128, True, "uconv")
    assert build(config.model).encoder.filterbank.stride == 10
    assert config.system.remix
    assert config.loader.pad_short  # section 3.3: "zero-padded if needed"
    assert "tracker" not in config.callbacks
    assert config.optim._target_ == "torch.optim.Adam"
    assert config.trainer.gradient_clip_val == 5.0
    early = name == "early_exit"
    assert (config.trainer.max_epochs, config.scheduler.step_size) == ((20, 5) if early else (200, 40))
    assert config.scheduler.gamma == pytest.approx(1 / 3, abs=1e-6)
    assert config.optim.lr == (3e-4 if early else 1e-3)
    assert config.init.new_gate == config.model.gate == early
    assert (config.system.iteration_penalty > 0) == early


def test_a_gate_sees_a_segment_as_it_is():
    config = compose_recipe("lir/wham_early_exit")
    model = build(config.model)
    [gate] = model.masker.gates
    assert sum(p.numel() for p in gate.parameters()) == 13_061  # the paper's 13 K
    frames = model.masker.start(model.forward_encoder(torch.zeros(1, 1, int(config.loader.segment_s * 8000)))).shape[-1]
    assert (gate.n_frames, frames) == (3200, 3200)
    assert isinstance(gate, ExitGate)


def test_a_gate_joins_the_network_that_it_was_made_for():
    """Of the recipes, and of the rows: no weight but the gates' is another's."""
    given = dict(rows("figure5"))
    pairs = [("sep", given), ("enh", given)]
    recipes = {
        "sep_before_exit": compose_recipe("lir/wham_sep"),
        "sep_early_exit": compose_recipe("lir/wham_early_exit"),
    }
    for kind, configs in [*pairs, ("sep", recipes)]:
        before, after = configs[f"{kind}_before_exit"], configs[f"{kind}_early_exit"]
        assert before.model.n_iterations == 4
        assert {**after.model, "gate": False, "gate_bias": 0.0} == dict(before.model)
        assert task(before) == task(after)
    epochs = [given[f"sep_{name}"].trainer.max_epochs for name in ("before_exit", "early_exit", "b1_s1_i4")]
    assert epochs == [180, 20, 200]
    assert given["enh_early_exit"].init.path == "runs/enh_before_exit/1"
    fixed = [given[f"sep_b1_s1_i{n}"] for n in (3, 4)]
    assert [cell(config) for config in fixed] == [(1, 1, 3), (1, 1, 4)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cells"), [("table1", TABLE_1), ("table2", TABLE_2)])
def test_the_rows_are_the_cells_of_the_tables(name, cells):
    found = {}
    for row, config in rows(name):
        assert row.startswith(("enh_", "sep_")[task(config)])
        assert f"_s{config.model.n_sub_blocks}_i{config.model.n_iterations}" in row
        found.setdefault(task(config), []).append(cell(config))
        staged = name == "table2" and config.model.n_blocks > 1
        assert ("progressive" in config.callbacks, config.model.own_heads) == (staged, staged)
        if staged:
            assert config.callbacks.progressive.epochs_per_stage * config.model.n_blocks == 200
        assert config.trainer.max_epochs == 200
    assert found == {0: cells, 1: cells}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["table2", "figure5"])
def test_a_row_of_two_tables_is_one_row(file):
    """So that one folder serves all three: what has a name of Table 1's is trained as there."""
    first, shared = dict(rows("table1")), 0
    for row, config in rows(file):
        if row in first:
            assert OmegaConf.to_container(config) == OmegaConf.to_container(first[row])
            shared += 1
    assert shared == (2 if file == "table2" else 4)


@pytest.mark.slow
def test_sizes_are_the_papers():
    """Whose count leaves out the weights of the global norms."""
    for _, config in rows("table1"):
        model = build(config.model)
        norms = {id(p) for m in model.modules() if isinstance(m, GlobLN) for p in m.parameters()}
        millions = sum(p.numel() for p in model.parameters() if id(p) not in norms) / 1e6
        assert round(millions, 1) == PARAMS[config.model.n_blocks * config.model.n_sub_blocks][task(config)]


def test_the_gate_costs_the_papers_share_of_the_operations():
    """0.2 % of the iterations' operations, as torch counts them; 0.1 % of the whole network's."""
    config = compose_recipe("lir/wham_early_exit", ["init.path=none"])
    model = build(config.model).eval()
    mixture = torch.randn(1, int(config.loader.segment_s * config.data.sample_rate))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(mixture)
    counts = {name.split(".", 1)[-1]: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    gate, block = (counts[name] for name in ("masker.gates.0", "masker.blocks.0"))  # of all 4 iterations
    assert round(100 * gate / block, 1) == 0.2
    assert round(100 * gate / counts["Global"], 1) == 0.1


def test_two_speakers_of_folders_with_noise(esc, tmp_path):
    """The stand-in for WHAM!: two people in each mixture, and noise that is no source."""
    root = librispeech(tmp_path, ("train-clean-100", "test-other"), n_speakers=5)
    words = [f"data.base.root={root}", f"data.noise_root={esc}", f"data.cache_dir={tmp_path / 'cache'}"]
    words += ["data.base.valid_speakers=2", "data.n_train=8", "data.n_valid=4", "data.n_test=4"]
    corpus = build(compose_recipe("lir/mini_librispeech", words).data)
    speakers = {"train": set(), "valid": set(), "test": set()}
    for split, found in speakers.items():
        for item, mixture in enumerate(corpus.dataset(split).mixtures):
            people = [corpus.sounds(split).sounds[sound].group for sound in mixture.sounds[:2]]
            assert len(set(people)) == 2, item
            found.update(people)
    assert not speakers["train"] & speakers["valid"]
    assert not speakers["test"] & (speakers["train"] | speakers["valid"])
    mixture, sources, _ = corpus.dataset("train", 1.0, seed=42)[0]
    assert sources.shape == (2, 8000)
    noise = mixture - sources.sum(0)
    snr = 20 * np.log10(float(sources[0].norm() / noise.norm()))
    assert -5.1 < snr < 15.1
