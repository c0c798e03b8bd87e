"""What SpeechBrain's mixin refuses, and its ends of an epoch."""

import sys

import pytest
import toolkit_loops
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.stabilizers import Stabilization

pytestmark = pytest.mark.toolkits


@pytest.fixture(autouse=True)
def _noise(monkeypatch):
    toolkit_loops.use_noise(monkeypatch.setattr)


@pytest.fixture
def brain_class():
    import speechbrain as sb

    from asteroid_stab.integrations.speechbrain import Stabilized

    class Separation(Stabilized, sb.Brain):
        def compute_forward(self, batch, stage):
            return self.modules.net(batch["mix"]).transpose(1, 2)

        def compute_objectives(self, predictions, batch, stage):
            return self.separation_loss(predictions, batch["src"], batch["mix"], batch, stage, batch.get("lengths"))

    return Separation


def new_brain(brain_class, stab=None, **hparams):
    net = toolkit_loops.loops.new_model()
    options = {"device": "cpu", "noprogressbar": True}
    return brain_class(
        {"net": net}, toolkit_loops.new_optimizer, {"stab": stab or toolkit_loops.new_stab(), **hparams}, options
    )


def batches(n=2, **others):
    known = toolkit_loops.loops.Tones()
    for start in range(0, 4 * n, 4):
        items = [known[row] for row in range(start, start + 4)]
        mixture, src = (torch.stack([torch.as_tensor(item[i]) for item in items]) for i in (0, 1))
        yield {"id": toolkit_loops.NAMES[start : start + 4], "mix": mixture, "src": src.transpose(1, 2), **others}


class Batches(torch.utils.data.Dataset):
    """Batches made already, under the names of their items."""

    data_ids = toolkit_loops.NAMES

    def __init__(self, **others):
        self.made = list(batches(**others))

    def __len__(self):
        return len(self.made)

    def __getitem__(self, i):
        return self.made[i]


def loader(**others):
    return torch.utils.data.DataLoader(Batches(**others), batch_size=None)


def test_it_goes_on_within_an_epoch(tmp_path, monkeypatch):
    reference = toolkit_loops.speechbrain(tmp_path / "whole", epochs=2)
    step, calls = Stabilization.__call__, []

    def killed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 8:  # four batches an epoch
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Stabilization, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            toolkit_loops.speechbrain(tmp_path / "killed", epochs=2, ckpt_interval_steps=1)
    rest = toolkit_loops.speechbrain(tmp_path / "killed", epochs=2)
    assert rest.rows == [pytest.approx(reference.rows[1])]
    for name, value in reference.weights.items():
        assert torch.equal(rest.weights[name], value), name


def test_a_batch_without_ids_is_refused(brain_class):
    data = Batches()
    for batch in data.made:
        del batch["id"]
    with pytest.raises(StabError, match='the batch has no ids: put "id" among the keys of set_output_keys'):
        new_brain(brain_class).fit(range(1, 2), torch.utils.data.DataLoader(data, batch_size=None))


def test_dynamic_mixing_is_refused_by_name(brain_class):
    with pytest.raises(StabError, match=r"SampleDropout needs stable ids, but .*\(dynamic_mixing: True\) mixes afresh"):
        new_brain(brain_class, dynamic_mixing=True).fit(range(1, 2), loader())


def test_validation_is_the_plain_loss(brain_class):
    brain = new_brain(brain_class)
    (batch, _) = batches()
    value = brain.evaluate_batch(batch, stage=__import__("speechbrain").Stage.VALID)
    wanted = brain.hparams.stab.loss(brain.modules.net(batch["mix"]), batch["src"].transpose(1, 2))
    assert value == wanted.detach()


def test_padding_is_never_judged(brain_class):
    """Relative lengths: what stands behind an item's end changes nothing."""
    values = []
    for fill in (0.0, 9.0):
        brain = new_brain(brain_class)
        data = Batches(lengths=torch.tensor([1.0, 0.5, 0.5, 1.0]))
        for batch in data.made:
            batch["src"][1:3, 400:] = fill
        brain.fit(range(1, 2), torch.utils.data.DataLoader(data, batch_size=None))
        values.append(brain.figures["loss"])
    assert values[0] == values[1]


def test_an_overridden_hook_that_forgets_super_is_told(brain_class):
    class Forgetful(brain_class):
        def on_stage_start(self, stage, epoch=None):
            pass

    with pytest.raises(ValueError, match=r"a step must come between begin_epoch\(\) and end_epoch\(\)"):
        new_brain(Forgetful).fit(range(1, 2), loader())


def test_a_step_without_an_item_moves_no_weight(brain_class):
    brain, seen = new_brain(brain_class), []
    brain.on_fit_batch_end = lambda *_: seen.append(brain.modules.net.decoder.filterbank._filters.detach().clone())
    data = Batches()
    data.made[1]["src"] = torch.zeros_like(data.made[1]["src"])
    brain.fit(range(1, 2), torch.utils.data.DataLoader(data, batch_size=None))
    assert torch.equal(seen[0], seen[1])


def test_without_the_package_the_error_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "speechbrain", None)
    monkeypatch.delitem(sys.modules, "asteroid_stab.integrations.speechbrain", raising=False)
    with pytest.raises(ImportError, match=r"integrations.speechbrain needs its toolkit .*: pip install speechbrain$"):
        import asteroid_stab.integrations.speechbrain  # noqa: F401
