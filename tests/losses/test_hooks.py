"""What a training asks of a loss: the defaults, and that every part is asked."""

import pytest
import torch

from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment
from asteroid_stab.losses.hooks import LossHooks
from asteroid_stab.run.plan import RunPlan

IDS, ASSIGNED = torch.arange(2), Assignment(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.long))
CALLS = {
    "check": (RunPlan(3),),
    "bind": (Items(2),),
    "set_epoch": (5,),
    "set_layer": (-2,),
    "remember": (IDS, ASSIGNED),
    "merge": (torch.clone, 0),
    "forget": (),
}
ONLY_WHERE_REMEMBERED = {"bind", "remember"}


class Part(LossHooks):
    """Notes the hooks that it is asked by."""

    def __init__(self, remembers_items):
        self.remembers, self.called = remembers_items, []

    @property
    def remembers_items(self):
        return self.remembers


for name in CALLS:

    def note(self, *given, name=name):
        self.called.append((name, given))

    setattr(Part, name, note)


class Whole(LossHooks):
    """A loss of parts that overrides nothing."""

    def __init__(self, *parts):
        self.own = parts

    def parts(self):
        return self.own


@pytest.mark.parametrize("name", CALLS)
def test_every_part_is_asked(name):
    plain, remembering = Part(False), Part(True)
    getattr(Whole(Whole(plain), remembering), name)(*CALLS[name])
    assert remembering.called == [(name, CALLS[name])]
    assert plain.called == ([] if name in ONLY_WHERE_REMEMBERED else remembering.called)


@pytest.mark.parametrize("name", CALLS)
def test_a_loss_without_parts_has_nothing_to_do(name):
    assert getattr(LossHooks(), name)(*CALLS[name]) is None


def test_what_is_not_declared_is_not_so():
    loss = LossHooks()
    assert loss.neutral(RunPlan(3)) is None
    assert not loss.remembers_items
    assert not loss.judges_silence
    assert not loss.fixed_labels
    assert Whole(Part(False), Part(True)).remembers_items
    assert not Whole(Part(False)).remembers_items
