"""Exits by the expected SNR: each item as if alone, dense equal to sparse, and the words that choose the target."""

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.losses.likelihood import snri_probability
from asteroid_stab.masknn.error_head import error_model
from asteroid_stab.models import LatentRefinementNet, layered_model, load_model, save_model
from asteroid_stab.models.variants import apply_variants

SIZE = {"n_filters": 12, "bn_chan": 6, "upsampling_depth": 2, "noise_slot": True, "snr_exit": True}


def net(seed=0, **arguments):
    """Its expectations differ from item to item: the last layer is spread."""
    torch.manual_seed(seed)
    model = LatentRefinementNet(2, **{**SIZE, "n_iterations": 4, **arguments}).double().eval()
    if model.snr_exit:
        with torch.no_grad():
            model.masker.error_head.out.weight.mul_(4.0)
    return model


def mixtures(n_items=8, n_samples=400):
    return torch.randn(n_items, n_samples, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_hand(model, mixture):
    """One mixture, iteration by iteration."""
    tf_rep = model.forward_encoder(mixture.view(1, 1, -1))
    hidden, added, n_used = model.masker.start(tf_rep), 0.0, 0
    for block, n in enumerate(model.n_iterations):
        for _ in range(n):
            hidden = model.masker.blocks[block](hidden)
            added, n_used = added + model.masker.error_head(hidden), n_used + 1
            last = n_used == sum(model.n_iterations)
            head = model.head(model.depth if last else block + 1)
            est = model.decode(hidden, tf_rep, mixture.view(1, 1, -1), head)
            alpha, beta = error_model(added, mixture.view(1, -1))
            chance = snri_probability(est, mixture.view(1, -1), alpha, beta, model.exit_snri_db)
            if (chance[:, :2] >= model.exit_probability).all():
                return est[0, :2], n_used
    return est[0, :2], n_used


@pytest.mark.parametrize("own_heads", [False, True])
@pytest.mark.parametrize("snri_db", [0.2, 1.5, 3.0])
def test_each_item_exits_as_if_it_were_alone(snri_db, own_heads):
    model = net(n_blocks=2, n_iterations=[3, 2], own_heads=own_heads, exit_snri_db=snri_db)
    x = mixtures()
    with torch.no_grad():
        est, figures = model.forward_with_figures(x)
        dense, n_dense = model.slots(x, dense=True)
        alone = [by_hand(model, one) for one in x]
    torch.testing.assert_close(est, torch.stack([one for one, _ in alone]))
    assert figures["n_iterations"].tolist() == [n for _, n in alone]
    torch.testing.assert_close(dense[:, :2], est)
    assert torch.equal(n_dense, figures["n_iterations"])


def test_some_exit_earlier_than_others():
    """Noise, and tones of one loud click: the states differ, and so do the expectations."""
    model, x, found = net(exit_probability=0.5), mixtures(), set()
    x[::2] = torch.sin(torch.arange(400) * torch.arange(1, 5).unsqueeze(1) / 20).double() + 9 * (torch.arange(400) == 7)
    for target in range(1, 60):
        model.exit_snri_db = target / 20
        found.add(len(model.forward_with_figures(x)[1]["n_iterations"].unique()))
    assert max(found) > 1


def test_a_higher_target_takes_no_fewer_iterations():
    model, before = net(exit_snri_db=0.0), torch.zeros(8)
    for snri_db in (0.0, 0.5, 1.0, 3.0, 60.0):
        model.exit_snri_db = snri_db
        n_used = model.forward_with_figures(mixtures())[1]["n_iterations"]
        assert (n_used >= before).all()
        before = n_used
    assert before.tolist() == [4] * 8


def test_without_a_target_and_in_training_nothing_exits():
    model = net()
    plain = model(mixtures())
    assert model.forward_with_figures(mixtures())[1]["n_iterations"].tolist() == [4] * 8
    model.exit_snri_db = 60.0
    torch.testing.assert_close(model(mixtures()), plain)
    model.exit_snri_db = 0.0
    assert model.train().forward_with_figures(mixtures())[1]["n_iterations"].tolist() == [4] * 8


def test_padded_items_and_no_iterations():
    model = net(exit_snri_db=0.5)
    x = mixtures(3)
    lengths = torch.tensor([400, 250, 400])
    est = model(x, lengths=lengths)
    torch.testing.assert_close(est[1, :, :250], model(x[1, :250]))
    assert model(x, n_iterations=0).shape == (3, 2, 400)


def test_the_target_is_chosen_by_a_word_and_kept_in_the_file(tmp_path):
    model = net(exit_snri_db=0.5)
    apply_variants(model, ["snri3"])
    assert model.exit_snri_db == 3.0
    save_model(model, tmp_path / "model.pth")
    again = load_model(tmp_path / "model.pth").double()
    assert again.exit_snri_db == 3.0
    torch.testing.assert_close(again(mixtures()), model(mixtures()), rtol=1e-3, atol=1e-4)  # the file is in float32
    plain = LatentRefinementNet(2, n_filters=12, bn_chan=6, upsampling_depth=2)
    with pytest.raises(StabError, match="snri3"):
        apply_variants(plain, ["snri3"])


def test_the_layers_of_a_training_have_errors_of_their_own():
    model = layered_model(net(n_blocks=2, n_iterations=[3, 2])).train()
    est, figures, (alpha, beta) = model.forward_with_errors(mixtures())
    assert est.shape == (5, 8, 3, 400)
    assert alpha.shape == beta.shape == (5, 8, 3)
    assert (alpha.diff(dim=0) > 0).all()
    assert (beta.diff(dim=0) < 0).all()
    assert figures["n_iterations"].tolist() == [5] * 8
    torch.testing.assert_close(est, model.forward_with_figures(mixtures())[0])
    with pytest.raises(StabError, match="model.snr_exit=true"):
        layered_model(net(snr_exit=False)).forward_with_errors(mixtures())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gate": True}, "gate and snr_exit are two ways to exit"),
        ({"snr_exit": False, "exit_snri_db": 3.0}, "exit_snri_db needs snr_exit=true, got exit_snri_db=3.0"),
        ({"exit_snri_db": float("nan")}, "exit_snri_db must be a number or null, got nan"),
        ({"exit_probability": 0.0}, "exit_probability must be between 0 and 1, got 0.0"),
        ({"exit_probability": 1.0}, "exit_probability must be between 0 and 1, got 1.0"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, message):
    with pytest.raises(StabError, match=message):
        LatentRefinementNet(2, **{**SIZE, **arguments})
