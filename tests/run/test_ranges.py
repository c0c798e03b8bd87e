"""Numbers that reach torch, Lightning and Asteroid are in range before anything is built or written."""

import pytest
from hosted_recipes import is_lacking
from runs import SMALL

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.build import build_run, shortest_input
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.ranges import range_faults
from asteroid_stab.run.recipes import recipe_files

CASES = [
    ("trainer.accumulate_grad_batches=-1", "trainer.accumulate_grad_batches must be at least 1, got -1"),
    ("trainer.accumulate_grad_batches=0", "must be at least 1, got 0"),
    ("trainer.gradient_clip_val=-5.0", "trainer.gradient_clip_val must be at least 0, got -5.0"),
    ("trainer.gradient_clip_val=nan", "trainer.gradient_clip_val must be a number, got nan"),
    ("trainer.max_epochs=-2", "trainer.max_epochs must be at least -1"),
    ("trainer.check_val_every_n_epoch=0", "at least 1, got 0"),
    ("trainer.limit_train_batches=0", "trainer.limit_train_batches must be above 0"),
    ("trainer.limit_val_batches=-1", "trainer.limit_val_batches must be above 0"),
    ("+trainer.val_check_interval=0", "trainer.val_check_interval must be above 0"),
    ("+trainer.max_steps=-7", "trainer.max_steps must be at least -1"),
    ("trainer.devices=0", "trainer.devices must be at least -1 and at most 4096 and not 0, got 0"),
    ("trainer.devices=100000", "trainer.devices must be"),
    ("trainer.num_nodes=0", "trainer.num_nodes must be at least 1"),
    ("optim.lr=-1e-3", "optim.lr must be at least 0, got -0.001"),
    ("optim.lr=nan", "optim.lr must be a number, got nan"),
    ("optim.lr=inf", "optim.lr must be at least 0, got inf"),
    ("optim.weight_decay=-1.0", "optim.weight_decay must be at least 0"),
    ("+optim.betas=[0.9,1.0]", r"optim.betas must be at least 0 and below 1, got 1.0"),
    ("+optim.eps=-1.0", "optim.eps must be at least 0"),
    ("+optim.maximize=true", "optim.maximize must be false, got True: it would maximise the loss"),
    ("scheduler=step scheduler.step_size=0", "scheduler.step_size must be at least 1, got 0"),
    ("scheduler=step scheduler.gamma=-0.5", "scheduler.gamma must be above 0"),
    ("scheduler=plateau scheduler.patience=-1", "scheduler.patience must be at least 0"),
    ("scheduler=plateau scheduler.factor=-0.5", "scheduler.factor must be at least 0 and below 1"),
    ("scheduler=linear scheduler.total_iters=0", "scheduler.total_iters must be at least 1"),
    ("scheduler=dptnet scheduler.warmup_steps=0", "scheduler.warmup_steps must be at least 1"),
    ("callbacks=[early_stopping] callbacks.early_stopping.patience=-3", "callbacks.early_stopping.patience must be"),
    ("model.n_filters=0", "model.n_filters must be at least 1 and at most 1e.06, got 0"),
    ("model.n_filters=-4", "model.n_filters must be"),
    ("model.kernel_size=0", "model.kernel_size must be"),
    ("model.stride=0", "model.stride must be"),
    ("model.n_blocks=1000000", "model.n_blocks must be at least 1 and at most 1000"),
    ("model=dprnn model.dropout=1.5", "model.dropout must be at least 0 and below 1"),
    ("model=sudormrf model.upsampling_depth=99", "model.upsampling_depth must be"),
    ("data.n_train=nan", "data.n_train"),
]


@pytest.mark.parametrize(("words", "message"), CASES, ids=[words for words, _ in CASES])
def test_a_number_out_of_range_is_refused_by_name(words, message):
    with pytest.raises(StabError, match=message):
        compose_recipe("baseline/toy", words.split())


@pytest.mark.parametrize(
    "words",
    [
        "trainer.max_epochs=-1 scheduler=plateau",
        "trainer.gradient_clip_val=null",
        "trainer.gradient_clip_val=0",
        "trainer.devices=-1",
        "trainer.limit_train_batches=3",
        "optim.lr=0.0",
        "+optim.betas=[0.0,0.999]",
        "model.stride=null model=sudormrf",
        "stabilizer=[dsd] stabilizer.dsd.epsilon_db=inf",
    ],
)
def test_numbers_at_the_end_of_a_range_pass(words):
    compose_recipe("baseline/toy", words.split())


@pytest.mark.parametrize("recipe", [name for name in sorted(recipe_files()) if not is_lacking(name)][::6])
def test_recipes_are_in_range(recipe):
    compose_recipe(recipe, ["loss.run=null"] if recipe.endswith("_fixed") else [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loader.num_workers=100000"], "num_workers must be at most [0-9]+ on this machine, got 100000"),
        (["trainer=ddp", "trainer.devices=4000"], "trainer.devices must be at most [0-9]+ on this machine, got 4000"),
        (
            ["trainer=ddp", "trainer.devices=30", "loader.num_workers=30"],
            "loader.num_workers times trainer.devices=30 must be at most [0-9]+ on this machine, got 900",
        ),
        (
            ["trainer=ddp", "trainer.strategy=fsdp"],
            "trainer.strategy must be auto or one of Lightning's ddp .*, got fsdp",
        ),
        (["loader.segment_s=0.001"], "loader.segment_s=0.001 gives 8 samples, and the model's filters have 32"),
        (["stabilizer=[dsd]", "stabilizer.dsd.drop_logit=-1e300"], "drop_logit must be below 0, from -10000 on"),
        (["stabilizer=[reweight]", "stabilizer.reweight.alpha=1e300"], "alpha must be a number from -10000 to 10000"),
        (["model.kernel_size=1000000", "model.n_filters=1000000"], "conv_tasnet: .*memory"),
    ],
)
def test_what_a_constructor_cannot_take_is_one_line(words, message):
    small = [word for word in SMALL if word.partition("=")[0] not in {word.partition("=")[0] for word in words}]
    with pytest.raises(StabError, match=f"(?i){message}"):
        build_run(compose_recipe("baseline/toy", [*small, "logger=none", "run_dir=x", *words]))


def test_nothing_is_written(tmp_path, capsys):
    words = ["trainer.accumulate_grad_batches=-1", f"run_dir={tmp_path / 'run'}"]
    assert main(["train", "baseline/toy", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_filters_of_every_model_are_found(tiny_model):
    from asteroid_stab import models

    assert shortest_input(tiny_model()) == 16
    small = {"n_filters": 16, "kernel_size": 21, "bn_chan": 8, "upsampling_depth": 2}
    assert shortest_input(models.sudormrf(2, num_blocks=1, **small)) == 21
    assert shortest_input(models.LatentRefinementNet(2, **small)) == 21
    assert shortest_input(models.dptnet(2, n_filters=16, n_repeats=1, ff_hid=4, kernel_size=8, stride=4)) == 8


def test_arguments_of_somebody_elses_net_mean_what_it_likes():
    assert [*range_faults({"model": {"_target_": "my_pkg.Net", "n_heads": 0, "dropout": 1.0}})] == []
    assert [*range_faults({"model": {"_target_": "asteroid.models.DPTNet", "n_heads": 0}})] != []
    assert [*range_faults({"model": {"_target_": "asteroid_stab.models.hosted", "n_src": 0}})] != []
