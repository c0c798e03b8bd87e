"""Pre-training and fine-tuning: the paper's values, one place for each, and when a run ends early."""

import pandas as pd
import pytest
from omegaconf import OmegaConf
from trees import libri1mix

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import build
from asteroid_stab.run.compose import compose_recipe

# Encoder, weight decay, segment in s, items a batch, batches a step, epochs of the fine-tuning, scheduler.
VALUES = {
    "convtasnet": ((512, 16, 8), 0.0, 3.0, 6, 4, 100, "ReduceLROnPlateau"),
    "dprnn": ((64, 2, 1), 1e-5, 2.0, 3, 8, 200, "ReduceLROnPlateau"),
    "dptnet": ((64, 2, 1), 1e-5, 4.0, 4, 1, 100, "DPTNetScheduler"),
}
OF_MODEL = {
    "convtasnet": {"bn_chan": 128, "hid_chan": 512, "skip_chan": 128, "n_blocks": 8, "n_repeats": 3},
    "dprnn": {"bn_chan": 128, "hid_size": 128, "chunk_size": 250, "hop_size": None, "n_repeats": 6},
    "dptnet": {"ff_hid": 256, "n_heads": 4, "chunk_size": 250, "hop_size": None, "n_repeats": 6, "norm_type": "gLN"},
}
SMALL = ["model.n_filters=32", "model.n_blocks=2", "model.n_repeats=1", "model.bn_chan=8", "model.hid_chan=16"]


def pretraining(model):
    return f"ssl/pretrain_se_libri1mix_{model}".removesuffix("_convtasnet")


@pytest.mark.parametrize("model", VALUES)
@pytest.mark.parametrize("kind", ["pretrain", "finetune_libri2mix", "finetune_wsj0_2mix"])
def test_recipes_have_the_papers_values(model, kind):
    config = compose_recipe(pretraining(model) if kind == "pretrain" else f"ssl/{kind}_{model}")
    encoder, decay, segment, batch, accumulated, epochs, scheduler = VALUES[model]
    assert (config.model.n_filters, config.model.kernel_size, config.model.stride) == encoder
    assert {key: config.model[key] for key in OF_MODEL[model]} == OF_MODEL[model]
    assert (config.model.mask_act, config.model.sample_rate) == ("relu", 8000)
    assert (config.optim.lr, config.optim.weight_decay) == (1e-3, decay)
    assert (config.loader.segment_s, config.loader.batch_size) == (segment, batch)
    assert config.trainer.accumulate_grad_batches == accumulated
    assert (config.trainer.gradient_clip_val, config.seed) == (5.0, 42)
    assert config.scheduler._target_.endswith(scheduler)
    if scheduler == "ReduceLROnPlateau":
        assert (config.scheduler.factor, config.scheduler.patience) == (0.5, 5)
    else:
        assert (config.scheduler.d_model, config.scheduler.warmup_steps, config.scheduler.noam_scale) == (64, 4000, 1.0)
    stopping = config.callbacks.early_stopping
    assert (stopping.monitor, stopping.mode, stopping.patience) == ("val/si_sdr", "max", 30)
    pretrains = kind == "pretrain"
    assert config.init.new_output != pretrains
    assert (config.data.n_src, config.model.n_src) == ((1, 1) if pretrains else (2, 2))
    assert config.trainer.max_epochs == (200 if pretrains and model == "convtasnet" else epochs)


@pytest.mark.parametrize("model", VALUES)
def test_a_model_is_pre_trained_as_it_is_fine_tuned(model):
    configs = [compose_recipe(name) for name in (pretraining(model), f"ssl/finetune_wsj0_2mix_{model}")]
    before, after = (OmegaConf.to_container(config.model) for config in configs)
    assert {**before, "n_src": 2} == after


@pytest.mark.parametrize("task", ["mama", "cc"])
def test_pretext_tasks_pre_train_the_same_model(task):
    config, se = compose_recipe(f"ssl/pretrain_{task}_libri1mix"), compose_recipe("ssl/pretrain_se_libri1mix")
    for part in ("model", "data", "optim", "trainer"):
        assert config[part] == se[part]
    assert list(config.callbacks) == ["early_stopping"]
    assert (config.callbacks.early_stopping.monitor, config.callbacks.early_stopping.mode) == ("val/score", "max")
    assert config.pretext._target_.endswith({"mama": "MaskedReconstruction", "cc": "ContrastivePrediction"}[task])


def test_libri1mix_as_its_generator_left_it(tmp_path):
    root = libri1mix(tmp_path / "Libri1Mix")
    disk = ["data=librimix", f"data.root={root}", "data.train_subset=train-360", "data.task=enh_single", "data.n_src=1"]
    small = ["loader.segment_s=0.5", "loader.num_workers=0", "loader.batch_size=2"]
    config = compose_recipe("ssl/pretrain_mama_libri1mix", [*disk, *small])
    data = build(config.loader, build(config.data))
    data.setup("fit")
    assert next(iter(data.train_dataloader()))[1].shape == (2, 1, 4000)
    assert [len(data.train_set), len(data.valid_set)] == [4, 4]


def test_fine_tuning_asks_for_its_beginning_and_goes_without_where_told(tmp_path):
    config = compose_recipe("ssl/mini_librispeech_finetune", SMALL)
    model = build(config.model)
    with pytest.raises(
        StabError,
        match=r"the path of weights to start with \(init.path=RUN\), got none; from scratch: init.new_output=false",
    ):
        build(config.init, model)
    scratch = compose_recipe("ssl/mini_librispeech_finetune", [*SMALL, "init.path=null", "init.new_output=false"])
    assert build(scratch.init, model).loaded == []


@pytest.fixture
def train(tmp_path):
    """A few epochs in which nothing is learnt, so that no epoch is better than the first."""

    def train(*words):
        run = tmp_path / "run"
        if run.exists():
            assert main(["train", f"resume={run}", *words]) == 0
        else:
            small = ["data.n_train=8", "data.n_valid=4", "data.n_test=4", "data.n_utterances=2", "loader.segment_s=0.5"]
            small += [*SMALL, "trainer.accelerator=cpu", "logger=none", "scheduler=plateau", "optim.lr=0.0"]
            words = ("callbacks=[tracker,early_stopping]", "callbacks.early_stopping.patience=2", *small, *words)
            assert main(["train", "baseline/toy", f"run_dir={run}", *words]) == 0
        return pd.read_csv(run / "metrics.csv")["epoch"].tolist()

    return train


def test_a_run_ends_when_it_has_not_become_better_for_as_long_as_said(train):
    assert train("trainer.max_epochs=6") == [0, 1, 2]


def test_a_resumed_run_counts_on(train):
    assert train("trainer.max_epochs=2") == [0, 1]
    assert train("trainer.max_epochs=6") == [0, 1, 2]  # three epochs from the first on, not from the resumption on


def test_a_run_that_ended_early_and_is_resumed(train):
    assert train("trainer.max_epochs=6") == [0, 1, 2]
    assert train() == [0, 1, 2]
