"""The fused global norm against Asteroid's."""

import copy

import pytest
import torch
from asteroid.masknn.norms import ChanLN, GlobLN
from asteroid.models import BaseModel, ConvTasNet

from asteroid_stab.masknn import FusedGlobLN, fuse_norms
from asteroid_stab.models import conv_tasnet, save_model

SIZE = {"n_filters": 32, "n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 16, "skip_chan": 8}


@pytest.mark.parametrize("shape", [(4, 6, 50), (1, 6, 1), (3, 6, 7, 5)])
def test_values_and_gradients_are_the_hosts(shape):
    torch.manual_seed(0)
    theirs, mine = GlobLN(6).double(), FusedGlobLN(6).double()
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), mine.parameters(), strict=True):
            q.copy_(p.copy_(torch.randn_like(p)))
    x = torch.randn(shape, dtype=torch.float64) + 3.0
    results = []
    for norm in (theirs, mine):
        given = x.clone().requires_grad_()
        out = norm(given)
        results.append((out, *torch.autograd.grad((out * x.cos()).sum(), [given, norm.gamma, norm.beta])))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_a_models_norms_are_fused_and_no_others():
    model = ConvTasNet(2, norm_type="cLN", **SIZE)
    kinds = [type(module) for module in fuse_norms(model).modules()]
    assert FusedGlobLN not in kinds
    assert ChanLN in kinds
    kinds = [type(module) for module in conv_tasnet(2, **SIZE).modules()]
    assert GlobLN not in kinds
    assert FusedGlobLN in kinds


def test_the_file_names_the_hosts_norm(tmp_path):
    model = conv_tasnet(2, **SIZE).eval()
    save_model(model, tmp_path / "model.pth")
    theirs = BaseModel.from_pretrained(str(tmp_path / "model.pth")).eval()
    assert GlobLN in [type(module) for module in theirs.modules()]
    x = torch.randn(1, 800)
    torch.testing.assert_close(model(x), theirs(x))


def test_a_fused_model_can_be_copied():
    model = conv_tasnet(2, **SIZE)
    x = torch.randn(1, 800)
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))
