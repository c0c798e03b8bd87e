"""A training step never waits for a GPU: every loss and stabilizer of conf/ and every system, walked without one.

What is walked computes what it computes on a CPU, to the bit. What is allowed stands by name in ``waits.Pretended``.
"""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from omegaconf import OmegaConf
from pytorch_lightning.trainer import call
from waits import Functions, Operators, Pretended, WaitError

from asteroid_stab.callbacks import AssignmentTracker, FreezeParameters, WeightAverage
from asteroid_stab.data import MixtureDataModule, MultiTaskCorpus, VariableSourcesCorpus
from asteroid_stab.engine import MultiTaskSystem, PretextSystem, RefinementSystem, StabSystem, VariableSourcesSystem
from asteroid_stab.engine.step_system import StepSystem
from asteroid_stab.items import Items
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper, PairwiseNegInactiveSNR
from asteroid_stab.masknn import fast_layers, overlap_add
from asteroid_stab.models import LatentRefinementNet
from asteroid_stab.pretext import ContrastivePrediction, MaskedReconstruction
from asteroid_stab.run.assignments import write_epoch, write_items
from asteroid_stab.run.check import build_part
from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilization, SwitchCounter, skip_empty_steps

CONF = Path(__file__).resolve().parents[2] / "conf"
N, B, T = 8, 4, 400

# How each loss and stabilizer of conf/ is set to do something: some in several ways.
LOSSES = {
    "attention": [{}],
    "attn_hun": [{"first_epoch.pit": 1}],
    "attn_sink": [{"first_epoch.sinkpit": 1}],
    "fixed": [{"run": None}, {"run": "RUN"}],
    "hysteresis": [{"margin_db": 1.0}, {"margin_db": 1.0, "memory": "best"}],
    "inactive": [{}],
    "mcl": [{"mcl_weight": 1.0}, {"mcl_weight": 0.5, "temperature": 3.0}],
    "mcl_hun": [{"phases.mcl.mcl_weight": 1.0, "first_epoch.pit": 1}],
    "pit": [{}],
    "probpit": [{}],
    "sinkpit": [{}, {"n_iter": 6}],
    "sorted": [{"sort_weight": 0.5}, {"sort_weight": 1.0, "key": "energy"}],
}
DSD = {"epsilon_db": 0.0, "keep_same": False}
STABILIZERS = {
    "data_map": [{"per_spread_db": 0.5, "per_mean_db": 0.1}],
    "dsd": [DSD, {"epsilon_db": 0.1, "metric": "sdr_i", "store_relaxed": True, "relative": True}],
    "graded": [{**DSD, "per_db": 0.2, "per_switch": 0.1}],
    "reweight": [{"alpha": 0.1}, {"alpha": 0.1, "level": "mixture", "clamp_db": 20.0}, {"class_bias": [["dog", 1.0]]}],
    "threshold": [{"threshold": -30.0}],
}


def cases(entries):
    each = [(name, way) for name, ways in entries.items() for way in ways]
    return pytest.mark.parametrize(("name", "way"), each, ids=[f"{name}-{','.join(way)}" for name, way in each])


def test_all_of_conf_is_walked():
    for group, entries in (("loss", LOSSES), ("stabilizer", STABILIZERS)):
        assert {file.stem for file in (CONF / group).glob("*.yaml")} == set(entries)


def make_loss(name, way, n_src, run):
    """A loss of conf/, without Hydra, which takes seconds."""

    def load(option):
        return OmegaConf.create((CONF / f"loss/{option}.yaml").read_text().replace("${corpus:n_src}", str(n_src)))

    node = load(name)
    if "defaults" in node:  # entries "option@phases.name"
        parts = [entry.split("@phases.") for entry in node.pop("defaults")]
        node.phases = {phase: load(option) for option, phase in parts}
    for key, value in way.items():
        OmegaConf.update(node, key, str(run) if value == "RUN" else value)
    torch.manual_seed(0)
    OmegaConf.resolve(node)
    return build_part("loss", node)


def labels_of_a_run(root, n_src):
    """Labels of another run, which lack an item."""
    labels = torch.arange(n_src).roll(1).expand(N, n_src).to(torch.int8).clone()
    labels[3] = -1
    write_items(root, map(str, range(N)), "f" * 16)
    write_epoch(root, 0, labels.unsqueeze(0).numpy())
    return root


ITEMS = Items(N, fingerprint="f" * 16, classes=("dog", "rain"), labels=torch.arange(2 * N).view(N, 2).numpy() % 2)


def walk(loss, parts, n_src, pretended=None, lengths=None, layers=()):
    """Weights after each step of two epochs of a plain loop, and figures; all steps but the first are walked."""
    random = torch.Generator().manual_seed(0)
    sources = torch.randn(N, n_src, T, generator=random)
    sources[1, 0], sources[2, 0, 5] = 0.0, float("inf")
    mixture = sources.sum(1)
    gains = torch.nn.Parameter(torch.ones(n_src, 1))
    optimizer = torch.optim.Adam([gains, *loss.parameters()], lr=1e-3)
    stab = Stabilization(loss, [SwitchCounter(), *parts], items=ITEMS)
    skip_empty_steps(stab, optimizer)
    seen = []
    for epoch in range(2):
        stab.begin_epoch(epoch)
        for k, ids in enumerate(torch.arange(N).split(B)):
            noise = torch.randn(*layers, B, n_src, T, generator=random)
            with pretended.on() if pretended and (epoch or k) else nullcontext():
                est = gains * (sources[ids.tolist() if not pretended else slice(k * B, k * B + B)].nan_to_num() + noise)
                part = slice(k * B, k * B + B)
                value = stab(est, sources[part], mixture=mixture[part], ids=ids, lengths=lengths, figures={"n": 2})
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
            seen.append(gains.detach().clone())
        figures = stab.end_epoch()
    return seen, figures


def assert_no_wait(make, monkeypatch, n_src=2, **options):
    """Walks twice: as on the CPU, and as on a GPU with all that waits refused. Both must be equal to the bit."""
    gains, figures = walk(*make(), n_src, **options)
    pretended = Pretended(monkeypatch)
    walked, its_figures = walk(*make(), n_src, pretended, **options)
    assert all(map(torch.equal, gains, walked))
    assert its_figures == figures
    return pretended.counts


@cases(LOSSES)
def test_losses(tmp_path, monkeypatch, name, way):
    run = labels_of_a_run(tmp_path, 2)
    assert_no_wait(lambda: (make_loss(name, way, 2, run), []), monkeypatch)


@cases({name: ways for name, ways in LOSSES.items() if name not in ("attn_hun", "fixed")})
def test_losses_of_many_sources(tmp_path, monkeypatch, name, way):
    """A GPU has its own search then."""
    counts = assert_no_wait(lambda: (make_loss(name, way, 4, None), []), monkeypatch, n_src=4)
    assert counts["assign"] >= 3


@cases(STABILIZERS)
def test_stabilizers(monkeypatch, name, way):
    node = OmegaConf.load(CONF / "stabilizer" / f"{name}.yaml")[name]

    def make():
        part = build_part("stabilizer", OmegaConf.merge(node, way))
        return ExactPITLossWrapper(pairwise_neg_sisdr), [part]

    assert_no_wait(make, monkeypatch)


def test_layers_of_which_each_has_a_bank(monkeypatch):
    def make():
        loss = LayerwiseLossWrapper(make_loss("hysteresis", {"margin_db": 1.0}, 2, None), "last", early_weight=0.5)
        return loss, [SampleDropout(epsilon_db=0.0, keep_same=False, layers="all"), Reweighting(alpha=0.1)]

    assert_no_wait(make, monkeypatch, layers=(3,))


def test_padded_items(monkeypatch):
    def make():
        loss = ExactPITLossWrapper(pairwise_neg_sisdr)
        return loss, [SampleDropout(epsilon_db=0.0, keep_same=False, metric="si_sdr_i")]

    assert_no_wait(make, monkeypatch, lengths=[T, T - 50, T, T - 100])


def fit(system, data, trainer, pretended=None):
    """The weights and figures after two epochs under a Trainer, in which all steps but the first are walked."""
    guard = nullcontext if pretended is None else pretended.on
    steps, hooks = StepSystem.optimizer_step, call._call_callback_hooks

    def step(self, *args, **kwargs):
        with guard() if self.global_step else nullcontext():
            return steps(self, *args, **kwargs)

    def hook(trainer, name, *args, **kwargs):
        with guard() if name.startswith("on_train_batch") and trainer.global_step > 1 else nullcontext():
            return hooks(trainer, name, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepSystem, "optimizer_step", step)
        patch.setattr(call, "_call_callback_hooks", hook)
        trainer.fit(system, datamodule=data)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return [p.detach().clone() for p in system.parameters()], figures


def optimizer(*modules):
    return torch.optim.Adam([p for module in modules for p in module.parameters() if p.requires_grad], lr=1e-2)


SYSTEMS = {}


def system(make):
    SYSTEMS[make.__name__] = make
    return make


@system
def separating(model, data, corpus):
    net, loss = model(2), ExactPITLossWrapper(pairwise_neg_sisdr)
    parts = [AssignmentTracker(), WeightAverage(0.9), FreezeParameters(["encoder"]), SampleDropout(epsilon_db=0.0)]
    return StabSystem(net, optimizer(net), loss), data(n_train=N, spoil={2: slice(None)}), parts


@system
def two_tasks(model, data, corpus):
    net, loss = model(3), ExactPITLossWrapper(pairwise_neg_sisdr)
    both = MultiTaskCorpus(corpus(n_train=N), corpus(n_train=N, n_src=1))
    return MultiTaskSystem(net, optimizer(net), loss), MixtureDataModule(both, 0.1, B), [AssignmentTracker()]


@system
def varying(model, data, corpus):
    net, loss = model(2), ExactPITLossWrapper(PairwiseNegInactiveSNR())
    parts = VariableSourcesCorpus({"one": corpus(n_train=N, n_src=1), "two": corpus(n_train=N)})
    return VariableSourcesSystem(net, optimizer(net), loss), MixtureDataModule(parts, 0.1, B), [AssignmentTracker()]


@system
def refining(model, data, corpus):
    size = {"n_filters": 16, "bn_chan": 8, "upsampling_depth": 2, "n_iterations": 2, "gate_segment_s": 0.1}
    net, loss = LatentRefinementNet(2, **size, noise_slot=True, gate=True), ExactPITLossWrapper(pairwise_neg_sisdr)
    own = {"noise_in_loss": True, "iteration_penalty": 0.1, "remix": True}
    return RefinementSystem(net, optimizer(net), loss, **own), data(n_train=N), []


@system
def restoring(model, data, corpus):
    net, task = model(1), MaskedReconstruction(n_fft=64, hop=16)
    task.prepare(net)
    return PretextSystem(net, optimizer(net, task), task), data(n_train=N, n_src=1), []


@system
def contrasting(model, data, corpus):
    net, task = model(1), ContrastivePrediction(n_dims=16, n_distractors=10)
    task.prepare(net)
    return PretextSystem(net, optimizer(net, task), task), data(n_train=N, n_src=1), []


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems(tmp_path, monkeypatch, tiny_model, tiny_data, tiny_corpus, tiny_trainer, name):
    for layers in (fast_layers, overlap_add):  # which a CPU alone has
        monkeypatch.setattr(layers, "eligible", lambda x, weight: False)

    def make(root):
        torch.manual_seed(0)
        built, data, parts = SYSTEMS[name](tiny_model, tiny_data, tiny_corpus)
        return built, data, tiny_trainer(tmp_path / root, parts, max_epochs=2, limit_val_batches=0)

    weights, figures = fit(*make("cpu"))
    pretended = Pretended(monkeypatch)
    walked, its_figures = fit(*make("gpu"), pretended)
    assert all(map(torch.equal, weights, walked))
    assert its_figures == pytest.approx(figures, rel=0, abs=0, nan_ok=True)
    assert pretended.counts["read"] >= 3


WAITS = {
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to the CPU": lambda x: x.to("cpu"),
    "bool": lambda x: x.any() and 1,
    "float": lambda x: float(x[0]),
    "numpy": lambda x: x.numpy(),
    "mask": lambda x: x[x > 0],
    "writes by a mask": lambda x: x.__setitem__(x > 0, x[x > 0]),
    "list as an index": lambda x: x[[0, 1]],
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "allclose": lambda x: torch.allclose(x, x),
    "sends a number": lambda x: x.new_tensor(1.0),
    "makes and sends": lambda x: torch.tensor([1.0], device=x.device),
    "sends later": lambda x: torch.tensor([1.0]).to(x),
    "within torch": lambda x: torch.ops.aten._local_scalar_dense(x[0]),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_found(name):
    with Operators(), Functions(), pytest.raises(WaitError):
        WAITS[name](torch.ones(3))


def test_what_the_host_has_itself_is_no_wait():
    with Operators(), Functions():
        assert torch.tensor([3, 4])[0].item() == 3
        assert (torch.ones(3)[1:] * 2).sum(dtype=torch.float64).requires_grad is False


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("n_src", [2, 5])
@pytest.mark.parametrize("name", ["pit", "sinkpit", "attention", "probpit", "inactive", "sorted"])
def test_a_gpu_is_never_waited_for(tiny_model, tiny_data, tmp_path, name, n_src):
    """All steps but the first, model and optimizer included, with torch's own watch over synchronisations."""
    import pytorch_lightning as pl

    way = {"sorted": {"sort_weight": 0.5}}.get(name, {})
    net, loss = tiny_model(n_src), make_loss(name, way, n_src, None)
    made = StabSystem(net, optimizer(net, loss), loss)
    parts = [AssignmentTracker(), WeightAverage(0.9), SampleDropout(**DSD), Reweighting(alpha=0.1)]
    steps, modes = StepSystem.optimizer_step, []

    def step(self, *args, **kwargs):
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error" if self.global_step else before)
        try:
            steps(self, *args, **kwargs)
        finally:
            modes.append(torch.cuda.get_sync_debug_mode())
            torch.cuda.set_sync_debug_mode(before)

    trainer = pl.Trainer(
        accelerator="gpu", devices=1, max_epochs=2, callbacks=parts, logger=False, enable_progress_bar=False,
        default_root_dir=tmp_path, use_distributed_sampler=False, gradient_clip_val=5.0, limit_val_batches=0,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepSystem, "optimizer_step", step)
        trainer.fit(made, datamodule=tiny_data(n_src=n_src))
    assert modes.count(2) == 7
