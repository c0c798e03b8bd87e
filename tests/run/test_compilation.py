"""compile=: the model is compiled in place, and trains, saves and resumes as before."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from own_nets import Chain
from runs import SMALL

from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.models import hosted, layered_model, load_model
from asteroid_stab.run.build import build_run
from asteroid_stab.run.compilation import compile_model, has_compiler
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.resume import check_checkpoint

WORDS = [*SMALL, "data.n_train=16", "data.n_utterances=1", "logger=none", "trainer.max_epochs=2"]


def trained(root, recipe, *words):
    """Trains; returns the model file's weights, and the checkpoint's."""
    torch._dynamo.reset()
    built = build_run(compose_recipe(recipe, [*WORDS, f"run_dir={root}", *words]))
    built.data.prepare_data()
    built.trainer.fit(built.system, datamodule=built.data)
    saved = check_checkpoint(root / "checkpoints" / "last.ckpt", built.system)
    return load_model(root).state_dict(), saved["state_dict"]


def close(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], **(tolerance or {"rtol": 1e-4, "atol": 1e-5}))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        pytest.param("baseline/toy", ["callbacks=[tracker,ema]", "callbacks.ema.decay=0.5"], marks=pytest.mark.slow),
        pytest.param("dsd_lo/toy", [], marks=pytest.mark.slow),
        pytest.param("reweighting/toy", ["trainer.precision=bf16-mixed"], marks=pytest.mark.slow),
    ],
)
def test_a_compiled_model_trains_as_it_is(tmp_path, recipe, words):
    """With the graphs that torch traces, run as they are: layers, an average of the weights, half precision too."""
    plain = trained(tmp_path / "plain", recipe, *words)
    compiled = trained(tmp_path / "compiled", recipe, *words, "compile=eager")
    for a, b in zip(plain, compiled, strict=True):
        close(a, b)
        assert not any("_orig_mod" in name for name in b)


def test_the_model_that_is_called_is_compiled():
    built = build_run(compose_recipe("baseline/toy", [*WORDS, "run_dir=x", "compile=eager"]))
    assert built.system.model._compiled_call_impl is not None
    plain = build_run(compose_recipe("baseline/toy", [*WORDS, "run_dir=x"]))
    assert plain.system.model._compiled_call_impl is None


def test_layers_of_a_hosted_net_are_refused(tiny_system):
    """Hooks note their values while it runs, which a traced graph does not carry out in time."""
    model = layered_model(hosted(Chain, {}, n_src=2, sample_rate=8000), layers="blocks.*")
    system = tiny_system(model, LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr)))
    with pytest.raises(StabError, match="compile=eager cannot trace the layers of a hosted net, .* head=plain"):
        compile_model(system, "eager")


def test_a_hosted_net_is_compiled(tiny_system):
    torch._dynamo.reset()
    model, x = hosted(Chain, {}, n_src=2, sample_rate=8000), torch.randn(2, 800)
    est = model(x)
    compile_model(tiny_system(model), "eager")
    torch.testing.assert_close(model(x), est)


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler, and there is none")
def test_torchs_own_backend_trains_to_the_same_weights_up_to_rounding(tmp_path):
    words = ["trainer.max_epochs=1", "loader.batch_size=8"]
    plain = trained(tmp_path / "plain", "baseline/toy", *words)
    compiled = trained(tmp_path / "compiled", "baseline/toy", *words, "compile=true")
    close(plain[0], compiled[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("recipe", ["lir/toy", "ssl/toy_mama"])
def test_systems_that_call_parts_of_a_model_are_refused(recipe):
    small = ["data.noise_root=x"] if "ssl" in recipe else []
    config = compose_recipe(recipe, [*small, "run_dir=x", "logger=none", "compile=eager", "trainer.accelerator=cpu"])
    with pytest.raises(StabError, match=r"compile=eager needs a system that calls its model as a whole, and \w+System"):
        build_run(config)


def test_other_values_are_refused(tiny_system):
    for wrong in ("eagr", 3, None):
        with pytest.raises(StabError, match=f"compile must be true, false or one of .*, got {wrong!r}"):
            compile_model(tiny_system(), wrong)


def test_no_compiler_is_told_before_the_training(tiny_system, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not has_compiler()
    with pytest.raises(StabError, match=r"compile=true needs a C\+\+ compiler \(g\+\+ or .*train with compile=false"):
        compile_model(tiny_system(), True)
