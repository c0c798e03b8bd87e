"""Latent refinement against its equations, written out; what a gate leaves uncomputed; stages and files."""

import copy
import subprocess
import sys

import pytest
import torch
from asteroid.masknn.norms import GlobLN
from asteroid.models import BaseModel
from asteroid.models.base_models import BaseEncoderMaskerDecoder

from asteroid_stab.errors import StabError
from asteroid_stab.masknn import register_sub_block
from asteroid_stab.masknn.sub_blocks import _MAKERS
from asteroid_stab.metrics.figures import ModelWithFigures
from asteroid_stab.models import LatentRefinementNet, load_model, load_pretrained, save_model
from asteroid_stab.models.variants import ModelWithVariants, apply_variants
from asteroid_stab.run.compose import compose_recipe

SIZE = {"n_filters": 12, "bn_chan": 6, "upsampling_depth": 3, "gate_segment_s": 0.1, "noise_slot": True}


def net(n_src=2, seed=0, **arguments):
    torch.manual_seed(seed)
    return LatentRefinementNet(n_src, **{**SIZE, **arguments}).double()


def mixtures(n_items=3, n_samples=800, seed=1):
    return torch.randn(n_items, n_samples, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uneven(model, scale=40.0):
    """Makes the gates decide otherwise from item to item: their last scores are centred and spread."""
    for gate in model.masker.gates:
        with torch.no_grad():
            gate.over_frames.weight.mul_(scale)
    return model


def counted(model, *args, **kwargs):
    """Estimates, and the iterations of each item."""
    est, figures = model.forward_with_figures(*args, **kwargs)
    assert torch.equal(figures["n_sub_blocks"], model.n_sub_blocks * figures["n_iterations"])
    return est, figures["n_iterations"]


class Script(torch.nn.Module):
    """A gate that decides as it is told: ``answers[t]`` of the items that are asked for the t-th time."""

    def __init__(self, depths):
        super().__init__()
        self.depths, self.asked = torch.as_tensor(depths), []

    def forward(self, hidden):
        """Items carry their number in the first value, which no block changes."""
        items = hidden[:, 0, 0].round().long()
        self.asked.append(items.tolist())
        done = hidden[:, 0, 1].round().long()
        return (done < self.depths[items]).to(hidden.dtype)


class Counting(torch.nn.Module):
    """A block that adds 1 to what a scripted gate reads, and remembers how many rows it was given."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def forward(self, hidden):
        self.rows.append(len(hidden))
        return hidden + torch.tensor([0.0] + [1.0] * (hidden.shape[-1] - 1), dtype=hidden.dtype)


def scripted(depths, n_blocks=1):
    """A masker whose items exit after ``depths`` iterations of each block, and a first state for it."""
    model = net(n_blocks=n_blocks, gate=True).eval()
    masker = model.masker
    for b in range(n_blocks):
        masker.gates[b], masker.blocks[b] = Script(depths), Counting()
    hidden = torch.zeros(len(depths), 6, 5, dtype=torch.float64)
    hidden[:, 0, 0] = torch.arange(len(depths))
    return masker.eval(), hidden


# --- sizes ---

TABLE = {  # U-ConvBlocks: parameters of enhancement (2 outputs) and of separation (3), and as the paper prints them
    1: (398_595, "0.4", 518_403, "0.5"),
    4: (839_817, "0.8", 959_625, "1.0"),
    8: (1_428_113, "1.4", 1_547_921, "1.5"),
    16: (2_604_705, "2.6", 2_724_513, "2.7"),
}


def size_of(module):
    """Parameters but for those of the global norms, as the paper counts."""
    norms = {id(p) for m in module.modules() if isinstance(m, GlobLN) for p in m.parameters()}
    return sum(p.numel() for p in module.parameters() if id(p) not in norms)


@pytest.mark.parametrize("n_sub_blocks", TABLE)
def test_sizes_are_the_papers(n_sub_blocks):
    (*wanted,) = TABLE[n_sub_blocks]
    for n_src, size, printed in ((1, *wanted[:2]), (2, *wanted[2:])):
        model = LatentRefinementNet(n_src, n_sub_blocks=n_sub_blocks, noise_slot=True)
        assert size_of(model) == size
        assert f"{size / 1e6:.1f}" == printed
    assert size_of(model.masker.blocks[0][0]) == 147_074
    assert sum(p.numel() for p in model.masker.blocks[0][0].parameters()) == 154_242


def test_blocks_times_sub_blocks_is_what_counts_and_iterations_are_free():
    assert (
        size_of(LatentRefinementNet(1, n_blocks=2, n_sub_blocks=4, n_iterations=[2, 3], noise_slot=True)) == TABLE[8][0]
    )
    gated = LatentRefinementNet(1, gate=True, n_iterations=4, noise_slot=True)
    assert size_of(gated) - TABLE[1][0] == 13_061
    assert gated.masker.gates[0].n_frames == 3200


@pytest.mark.parametrize(("n_samples", "n_frames"), [(31_840, 3184), (31_841, 3200), (32_000, 3200), (1, 16)])
def test_frames_of_the_papers_segments(n_samples, n_frames):
    model = LatentRefinementNet(1, n_filters=4, bn_chan=2)
    assert model.forward_encoder(torch.randn(1, 1, n_samples)).shape == (1, 4, n_frames)


@pytest.mark.parametrize(
    ("kernel_size", "stride", "depth"), [(21, None, 3), (21, 7, 2), (20, 10, 3), (16, 8, 4), (1, 1, 1), (5, 4, 1)]
)
@pytest.mark.parametrize("n_samples", [1, 80, 333])
def test_every_length_and_stride_gives_its_own_length_back(kernel_size, stride, depth, n_samples):
    model = net(kernel_size=kernel_size, stride=stride, upsampling_depth=depth, gate=True).eval()
    assert model(mixtures(2, n_samples)).shape == (2, 2, n_samples)
    assert model(mixtures(2, n_samples)[0]).shape == (2, n_samples)
    assert model(mixtures(2, n_samples).unsqueeze(1)).shape == (2, 2, n_samples)
    padded = mixtures(2, n_samples)
    decoded = model.decoder(torch.randn(2, 3, 12, model.forward_encoder(padded.unsqueeze(1)).shape[-1]).double())
    assert decoded.shape[-1] == -(-n_samples // model._multiple) * model._multiple
    segment = torch.zeros(1, 1, 800).double()
    assert model.forward_encoder(segment).shape[-1] == model.masker.gates[0].n_frames


# --- eq. (1) to (6) ---


def test_the_equation_written_out():
    model = net(n_blocks=2, n_sub_blocks=2, n_iterations=[3, 2])
    wav, masker = mixtures(n_samples=800), model.masker
    encoded = torch.conv1d(wav.unsqueeze(1), model.encoder.filterbank._filters, stride=10, padding=10)
    assert encoded.min() < 0
    mean, var = encoded.mean((1, 2), keepdim=True), encoded.var((1, 2), keepdim=True, unbiased=False)
    hidden = masker.bottleneck((encoded - mean) / (var + 1e-8).sqrt())
    for block, n in zip(masker.blocks, (3, 2), strict=True):
        for _ in range(n):
            hidden = block[1](block[0](hidden))
    slope, conv = masker.mask_net
    masks = conv(torch.where(hidden > 0, hidden, slope.weight * hidden)).clamp_min(0)
    masked = torch.cat([masks[:, 12 * s : 12 * s + 12] * encoded for s in range(3)], 1)
    est = torch.conv_transpose1d(masked, model.decoder.weight, stride=10, padding=10, output_padding=9)
    torch.testing.assert_close(model(wav), est)
    assert model.decoder.weight.shape == (36, 3, 21)
    assert model.decoder.bias is None


def test_the_host_composes_the_same():
    """Encoder, masker and decoder are those of the host's own forward."""
    model = net(n_blocks=2, n_iterations=[1, 3], gate=True).eval()
    wav = mixtures()
    torch.testing.assert_close(BaseEncoderMaskerDecoder.forward(model, wav), model.slots(wav)[0])


def test_iterations_of_a_call():
    model = net(n_blocks=2, n_iterations=[2, 1])
    wav = mixtures()
    assert torch.equal(model(wav), model(wav, n_iterations=[2, 1]))
    for n in (1, 3):
        assert torch.equal(model(wav, n_iterations=n), net(n_blocks=2, n_iterations=n)(wav))
    est, n_used = counted(model, wav, n_iterations=[0, 3])
    assert n_used.tolist() == [3.0] * 3
    alone = net(n_blocks=2)
    alone.masker.blocks[0] = torch.nn.Identity()
    assert torch.equal(est, alone(wav, n_iterations=[1, 3]))


def most(model):
    """The largest possible values of the figures."""
    return {name: info.most for name, info in model.figures.items()}


def test_figures_and_variants():
    model = net(n_blocks=2, n_sub_blocks=2, n_iterations=[4, 1]).eval()
    assert isinstance(model, ModelWithFigures)
    assert isinstance(model, ModelWithVariants)
    assert most(model) == {"n_iterations": 5, "n_sub_blocks": 10}
    assert [info.is_cost for info in model.figures.values()] == [False, True]
    wanted = model(mixtures(), n_iterations=3)
    apply_variants(model, ["iterations3"])
    est, n_used = counted(model, mixtures())
    assert torch.equal(est, wanted)
    assert most(model) == {"n_iterations": 6, "n_sub_blocks": 12}
    assert n_used.tolist() == [6] * 3
    assert torch.equal(BaseEncoderMaskerDecoder.forward(model, mixtures())[:, :2], wanted)  # the host's composition
    gated = net(n_iterations=4, gate=True, gate_bias=-99.0).eval()
    gated.apply_variant("iterations2")
    assert counted(gated, mixtures())[1].tolist() == [0] * 3


def test_the_noise_is_an_output_of_training_alone():
    model = net(n_src=3, noise_slot=True)
    wav = mixtures()
    trained = model(wav)
    assert trained.shape == (3, 4, 800)
    model.eval()
    assert torch.equal(model(wav), trained[:, :3])
    assert torch.equal(model.slots(wav)[0], trained)
    plain = net(n_src=3, noise_slot=False)
    assert plain(wav).shape == plain.eval()(wav).shape == (3, 3, 800)


# --- the gate, eq. (7) to (10) ---


def test_training_is_dense_and_its_count_is_the_sum_of_the_decisions():
    model = net(n_blocks=2, n_iterations=[2, 3], gate=True)
    wav = mixtures(16)
    torch.manual_seed(7)
    est, n_used = counted(model, wav)
    torch.manual_seed(7)
    hidden = model.masker.start(model.forward_encoder(wav.unsqueeze(1)))
    total = 0
    for block, gate, n in zip(model.masker.blocks, model.masker.gates, (2, 3), strict=True):
        for _ in range(n):
            g = gate(hidden)
            total = total + g
            hidden = torch.stack([block(h[None])[0] if go else h for h, go in zip(hidden, g > 0.5, strict=True)])
    torch.testing.assert_close(n_used, total)
    assert len(set(n_used.tolist())) > 2
    assert set(n_used.tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    masks = model.masker.masks(hidden, model.masker.mask_net)
    torch.testing.assert_close(est, model.decoder(masks * model.forward_encoder(wav.unsqueeze(1)).unsqueeze(1)))


@pytest.mark.parametrize("part", [0, 1])
def test_the_gate_learns_from_the_estimates_and_from_the_count(part):
    model = net(n_iterations=3, gate=True)
    outputs = counted(model, mixtures(8))
    outputs[part].square().sum().backward()
    for name, parameter in model.masker.gates.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_exits_equal_dense_gating_and_each_item_alone():
    model = uneven(net(n_blocks=2, n_iterations=[3, 2], gate=True)).eval()
    wav = mixtures(24)
    est, n_used = counted(model, wav)
    assert n_used.dtype == torch.int64
    assert len(set(n_used.tolist())) > 1
    dense, n_dense = model.slots(wav, dense=True)
    torch.testing.assert_close(est, dense[:, :2], rtol=0, atol=1e-10)
    assert n_used.tolist() == n_dense.tolist()
    for i in range(len(wav)):
        one, n_one = counted(model, wav[i : i + 1])
        torch.testing.assert_close(one[0], est[i], rtol=0, atol=1e-10)
        assert n_one.item() == n_used[i]
    assert torch.equal(model(wav), est)


def test_exits_have_the_gradient_of_dense_gating():
    model = uneven(net(n_iterations=3, gate=True)).eval()
    wav, gradients = mixtures(12), []
    for dense in (False, True):
        model.zero_grad()
        model.slots(wav, dense=dense)[0].square().sum().backward()
        gradients.append(model.masker.blocks[0][0].res_conv.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("depths", "rows"),
    [
        ([0, 2, 1, 4, 0], [3, 2, 1, 1]),
        ([0, 0, 0], []),
        ([4, 4, 9], [3, 3, 3, 3]),
        ([2], [1, 1]),
        ([0], []),
        ([1, 1], [2]),
    ],
)
def test_what_has_exited_is_not_computed(depths, rows):
    masker, hidden = scripted(depths)
    refined, n_used = masker.refine(hidden, 0, 4)
    assert masker.blocks[0].rows == rows
    assert n_used.tolist() == [min(4, d) for d in depths]
    assert refined[:, 1, 2].tolist() == [min(4, d) for d in depths]
    assert refined[:, 0, 0].tolist() == list(range(len(depths)))
    asked = [sorted(items) for items in masker.gates[0].asked]
    assert asked[0] == list(range(len(depths)))  # before the first iteration too
    assert asked == [[i for i, d in enumerate(depths) if d >= t] for t in range(min(4, max(depths) + 1))]


def test_an_exit_from_a_block_goes_on_to_the_next():
    masker, hidden = scripted([0, 3], n_blocks=2)
    hidden, first = masker.refine(hidden, 0, 2)
    hidden[:, 0, 1] = 0.0  # the next script counts anew
    hidden, second = masker.refine(hidden, 1, 3)
    assert first.tolist() == [0, 2]
    assert second.tolist() == [0, 3]
    masker.gates[1].depths = torch.tensor([1, 0])
    hidden[:, 0, 1] = 0.0
    _, other = masker.refine(hidden, 1, 3)
    assert other.tolist() == [1, 0]


def test_a_tie_is_processed():
    model = net(n_iterations=3, gate=True).eval()
    torch.nn.init.zeros_(model.masker.gates[0].over_frames.weight)
    torch.nn.init.zeros_(model.masker.gates[0].over_frames.bias)
    assert counted(model, mixtures())[1].tolist() == [3, 3, 3]


def test_a_gate_that_always_processes_is_no_gate():
    wav, plain = mixtures(), net(n_iterations=3)
    gated = net(n_iterations=3, gate=True, gate_bias=1e6)
    gated.load_state_dict(plain.state_dict(), strict=False)
    for mode in (True, False):
        est, n_used = counted(gated.train(mode), wav)
        torch.testing.assert_close(est, plain.train(mode)(wav))
        assert n_used.tolist() == [3, 3, 3]
        assert counted(plain, wav)[1].tolist() == [3, 3, 3]


def test_exits_under_autocast():
    model = uneven(net(n_iterations=4, gate=True).float())
    wav = mixtures(16).float()
    with torch.autocast("cpu", torch.bfloat16):
        est, n_used = counted(model, wav)
        (est.float().square().mean() + n_used.mean()).backward()
        assert n_used.dtype == torch.float32
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        model.eval()
        est, n_used = model.slots(wav)
        dense, n_dense = model.slots(wav, dense=True)
    assert len(set(n_used.tolist())) > 1
    assert n_used.tolist() == n_dense.tolist()
    torch.testing.assert_close(est.float(), dense.float(), rtol=0.05, atol=0.05)


# --- lengths ---


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(training):
    model = net(n_blocks=2, n_iterations=[3, 2], gate=not training)
    model = uneven(model).train(training)
    wav, lengths = mixtures(5, 900), [900, 401, 655, 401, 12]
    est, n_used = counted(model, wav, lengths=torch.tensor(lengths))
    for i, length in enumerate(lengths):
        alone, n_alone = counted(model, wav[i : i + 1, :length])
        torch.testing.assert_close(est[i, :, :length], alone[0], rtol=0, atol=1e-10)
        assert (est[i, :, length:] == 0).all()
        assert n_alone.item() == n_used[i]
    torch.testing.assert_close(model(wav, lengths=torch.tensor([900] * 5)), model(wav))


def test_padding_has_no_gradient():
    model, wav = net(), mixtures(2, 600).requires_grad_()
    model(wav, lengths=torch.tensor([600, 320])).square().sum().backward()
    assert wav.grad[0].abs().min() > 0
    assert (wav.grad[1, 320:] == 0).all()
    assert wav.grad[1, :320].abs().min() > 0


# --- stages ---


def staged(**arguments):
    return net(n_blocks=3, n_iterations=[2, 1, 2], own_heads=True, **arguments)


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_truncated_model_is_its_stage(n, gate):
    model = uneven(staged(gate=gate)).eval()
    wav = mixtures()
    small = model.truncated(n)
    assert (small.n_blocks, small.n_iterations, small.training) == (n, [2, 1, 2][:n], False)
    model.train_stage(n)
    for a, b in zip(model.slots(wav), small.slots(wav), strict=True):
        torch.testing.assert_close(a, b)
    if n == 3:
        model.train_stage(None)
        torch.testing.assert_close(model(wav), small(wav))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert not (model(wav) == 0).all()


def test_truncating_draws_nothing():
    model = staged()
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    assert model.truncated(2).training
    assert torch.equal(torch.rand(1), wanted)


PARTS = {
    1: ("encoder.", "masker.ln.", "masker.bottleneck.", "masker.blocks.0.", "masker.gates.0.", "early_heads.0."),
    2: ("masker.blocks.1.", "masker.gates.1.", "early_heads.1."),
    3: ("masker.blocks.2.", "masker.gates.2.", "masker.mask_net.", "decoder."),
}


@pytest.mark.parametrize("n", PARTS)
def test_a_stage_trains_its_block_and_nothing_else(n):
    model = staged(gate=True, gate_bias=3.0)
    before = copy.deepcopy(model.state_dict())
    model.train_stage(n)
    assert model.stage == n
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(trained) == {name for name in before if name.startswith(PARTS[n])}
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    est, n_used = counted(model, mixtures())
    (est.square().sum() + n_used.sum()).backward()
    assert all(p.grad is not None for p in trained.values())
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) or name in trained, name
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.train_stage(None)
    assert model.stage is None
    assert all(p.requires_grad for p in model.parameters())


def test_a_stage_keeps_no_graph_before_it_and_runs_no_block_behind_it():
    model, calls = staged(), []
    for b, block in enumerate(model.masker.blocks):
        block.register_forward_hook(lambda _m, _i, out, b=b: calls.append((b, torch.is_grad_enabled())))
    model.train_stage(2)
    for parameter in model.masker.blocks[0].parameters():
        parameter.requires_grad_(True)  # as a training that unfreezes by mistake
    model(mixtures()).sum().backward()
    assert calls == [(0, False), (0, False), (1, True)]
    assert all(p.grad is None for p in model.masker.blocks[0].parameters())
    model.eval()(mixtures())
    assert {b for b, _ in calls} == {0, 1}


def test_frozen_parts_give_in_training_what_they_gave():
    """A sub-block with dropout and batch statistics, and a gate: all as in evaluation before the stage's block."""
    register_sub_block("noisy", lambda c, n, d: torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(c)))
    try:
        model = staged(gate=True, sub_block="noisy").train()
    finally:
        del _MAKERS["noisy"]
    model.train_stage(3)
    assert model.train().training
    before = copy.deepcopy(model.state_dict())
    seen = []
    model.masker.blocks[2].register_forward_pre_hook(lambda _m, given: seen.append(given[0]))
    torch.nn.init.zeros_(model.masker.gates[2].over_frames.weight)
    model(mixtures())
    model(mixtures())
    assert torch.equal(seen[0], seen[2])
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed
    assert all(name.startswith(("masker.blocks.2", "masker.gates.2")) for name in changed)
    model.train_stage(None)
    assert all(module.training for module in model.modules())


def test_one_block_has_one_stage_without_heads_of_its_own():
    model = net(gate=True)
    model.train_stage(1)
    assert all(p.requires_grad for p in model.parameters())


def test_the_file_of_a_stage_holds_its_model(tmp_path):
    model = staged(gate=True).float().eval()
    model.train_stage(2)
    save_model(model, tmp_path / "m.pth")
    loaded = load_model(tmp_path / "m.pth")
    assert (loaded.n_blocks, loaded.stage) == (2, None)
    wav = mixtures().float()
    torch.testing.assert_close(loaded(wav), model(wav))
    twin = staged(gate=True, seed=5).float()
    twin.load_state_dict(model.state_dict())  # a checkpoint has all blocks
    twin.eval().train_stage(2)
    torch.testing.assert_close(twin(wav), model(wav))


# --- files ---


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"gate": True, "gate_bias": 2.0, "n_iterations": 4},
        {"n_blocks": 2, "n_iterations": [1, 3], "own_heads": True, "gate": True, "noise_slot": False},
        {"sub_block": "ublock", "stride": 7, "mask_act": "softmax", "sample_rate": 16000},
    ],
)
def test_saved_is_loaded(arguments, tmp_path):
    model = net(n_src=3, **arguments).float().eval()
    save_model(model, tmp_path / "m.pth")
    wav = mixtures().float()
    for loaded in (load_model(tmp_path / "m.pth"), BaseModel.from_pretrained(str(tmp_path / "m.pth")).eval()):
        assert type(loaded) is LatentRefinementNet
        assert loaded.get_model_args() == model.get_model_args()
        assert loaded.sample_rate == arguments.get("sample_rate", 8000)
        for a, b in zip(loaded.slots(wav), model.slots(wav), strict=True):
            assert torch.equal(a, b)


def test_plain_asteroid_opens_the_file_beside_this_package(tmp_path):
    save_model(net().float(), tmp_path / "m.pth")
    code = (
        "import asteroid_stab\nfrom asteroid.models import BaseModel\n"
        f"print(type(BaseModel.from_pretrained({str(tmp_path / 'm.pth')!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["LatentRefinementNet"]


def test_a_file_without_a_gate_lacks_the_gates_keys_alone(tmp_path):
    save_model(net().float(), tmp_path / "m.pth")
    gated = net(gate=True).float()
    missing = gated.load_state_dict(torch.load(tmp_path / "m.pth", weights_only=True)["state_dict"], strict=False)
    assert missing.unexpected_keys == []
    assert missing.missing_keys
    assert all(key.startswith("masker.gates.") for key in missing.missing_keys)
    with pytest.raises(StabError, match=r"masker\.gates\.0\.by_frame\.weight is missing"):
        load_pretrained(gated, str(tmp_path / "m.pth"))


def test_the_config_has_the_defaults():
    config = compose_recipe("baseline/toy", ["model=refiner"]).model
    model = LatentRefinementNet(2, **{k: v for k, v in config.items() if k not in ("_target_", "n_src")})
    assert model.get_model_args() == LatentRefinementNet(2).get_model_args()
    assert set(config) - {"_target_"} == set(model.get_model_args())


# --- sub-blocks, wrong input ---


def test_a_sub_block_of_ones_own():
    register_sub_block("half", lambda c, n, depth: torch.nn.Conv1d(c, c, 1, bias=False))
    register_sub_block("wide", lambda c, n, depth: torch.nn.Conv1d(c, n, 1))
    register_sub_block("lines", lambda c, n, depth: torch.nn.Linear(100, 100))
    register_sub_block("short", lambda c, n, depth: torch.nn.Conv1d(c, c, 3))
    try:
        model = net(sub_block="half", n_iterations=2)
        torch.nn.init.eye_(model.masker.blocks[0][0].weight[..., 0].data)
        assert torch.equal(model(mixtures()), model(mixtures(), n_iterations=0))
        with pytest.raises(StabError, match=r"keep its input's shape, got \[1, 12, 8\] of \[1, 6, 8\] from 'wide'"):
            net(sub_block="wide", stride=9)
        with pytest.raises(StabError, match=r"got \[1, 6, 2\] of \[1, 6, 4\] from 'short'"):
            net(sub_block="short")
        with pytest.raises(StabError, match=r"a sub-block must take \[1, 6, 4\], 'lines' does not: .*shapes"):
            net(sub_block="lines")
        with pytest.raises(ValueError, match="a sub-block 'half' is registered already"):
            register_sub_block("half", torch.nn.Identity)
    finally:
        for name in ("half", "wide", "lines", "short"):
            del _MAKERS[name]
    with pytest.raises(StabError, match=r"sub_block must be one of uconv, ublock, got 'ucnv' \(did you mean 'uconv'"):
        net(sub_block="ucnv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_src": 0}, "n_src must be at least 1, got 0"),
        ({"n_blocks": 0}, "n_blocks must be at least 1, got 0"),
        ({"n_sub_blocks": -1}, "n_sub_blocks must be at least 1, got -1"),
        ({"upsampling_depth": 0}, "upsampling_depth must be at least 1, got 0"),
        ({"n_iterations": 0}, "n_iterations must be whole numbers of at least 1, got 0"),
        ({"n_blocks": 2, "n_iterations": [1, -2]}, "whole numbers of at least 1, got -2"),
        ({"n_iterations": 1.5}, "whole numbers of at least 1, got 1.5"),
        ({"n_iterations": True}, "whole numbers of at least 1, got True"),
        ({"n_blocks": 2, "n_iterations": [1, 2, 3]}, r"one number or 2 \(n_blocks\), got 3: \[1, 2, 3\]"),
        ({"stride": 22}, "stride must be from 1 to kernel_size=21, got 22"),
        ({"stride": 0}, "stride must be from 1 to kernel_size=21, got 0"),
        ({"sample_rate": 0}, "sample_rate must be above 0, got 0"),
        ({"gate": True, "gate_segment_s": 5e-5}, "gate_segment_s must be at least one sample, 0.000125 s, got 5e-05"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(StabError, match=message):
        net(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m(mixtures(), n_iterations=-1), "whole numbers of at least 0, got -1"),
        (lambda m: m(mixtures(), n_iterations=[1]), r"one number or 2 \(n_blocks\), got 1: \[1\]"),
        (
            lambda m: m(mixtures(), lengths=torch.tensor([800, 1])),
            r"must be 3, one for each item, got \[800, 1\]",
        ),
        (lambda m: m(mixtures(), lengths=torch.tensor([800, 0, 1])), r"from 1 to 800, .*, got \[800, 0, 1\]"),
        (lambda m: m(mixtures(), lengths=torch.tensor([800, 801, 1])), r"from 1 to 800, .*, got \[800, 801, 1\]"),
        (lambda m: m(mixtures(), lengths=torch.tensor([0.5, 0.5, 1])), r"from 1 to 800, .*, got \[0.5, 0.5, 1.0\]"),
        (lambda m: m(torch.zeros(2, 2, 800)), r"\[T\], \[B, T\] or \[B, 1, T\] with T above 0, got \[2, 2, 800\]"),
        (lambda m: m(torch.zeros(2, 0)), r"with T above 0, got \[2, 0\]"),
        (lambda m: m.train_stage(3), "stage must be from 1 to n_blocks=2, or None, got 3"),
        (lambda m: m.train_stage(0), "stage must be from 1 to n_blocks=2, or None, got 0"),
        (lambda m: m.train_stage(1), "train_stage needs own_heads=true"),
        (lambda m: m.apply_variant("iterations0"), "n_iterations must be whole numbers of at least 1, got 0"),
        (lambda m: m.truncated(0), "a number of blocks from 1 to 2, got 0"),
        (lambda m: m.truncated(1), "truncated needs own_heads=true: the one head is that of all 2 blocks"),
    ],
)
def test_calls_that_do_not_fit_are_refused(call, message):
    with pytest.raises(StabError, match=message):
        call(net(n_blocks=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_iterations": 1001}, "n_iterations must be at most 1000, got 1001"),
        ({"n_iterations": [1, 10**9]}, "n_iterations must be at most 1000, got 1000000000"),
        ({"n_blocks": 10**9}, "n_blocks must be at most 1000, got 1000000000"),
    ],
)
def test_counts_that_never_end_are_refused(arguments, message):
    with pytest.raises(StabError, match=message):
        LatentRefinementNet(2, **{"n_blocks": 2, "n_filters": 16, "bn_chan": 8, "upsampling_depth": 2, **arguments})
