"""Parts of a model that are kept for the first epochs."""

import pytest
import torch

from asteroid_stab.callbacks import FreezeParameters
from asteroid_stab.errors import StabError


def fit(root, tiny_data, tiny_trainer, tiny_system, tiny_model, callbacks=(), epochs=1, hard=(), model=None):
    model = model or tiny_model()
    for part in hard:
        model.get_submodule(part).requires_grad_(False)
    tiny_trainer(root, callbacks=callbacks, max_epochs=epochs).fit(tiny_system(model), datamodule=tiny_data())
    return model


def test_it_is_training_without_the_part_then_with_it(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model):
    parts = ["encoder", "masker.TCN"]
    made = (tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model)
    start = tiny_model().state_dict()
    one = fit(*made, [FreezeParameters(parts, 1)], epochs=1).state_dict()
    hard = fit(*made, hard=parts).state_dict()
    for name, value in one.items():
        assert torch.equal(value, hard[name]), name  # the gradient's norm is of the others alone
        frozen = name.startswith(("encoder.", "masker.TCN."))
        assert frozen == torch.equal(value, start[name]) or not start[name].is_floating_point(), name
    two = fit(*made, [FreezeParameters(parts, 1)], epochs=2).state_dict()
    assert all(
        not torch.equal(two[name], one[name]) for name in ("encoder.filterbank._filters", "decoder.filterbank._filters")
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["encodr"], "no part 'encodr' .*encoder"),
        (["masker.TCN.1.res_conv"], "masker.TCN.1.res_conv has nothing that is trained in this run"),
    ],
)
def test_unknown_parts_are_refused(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model, parts, message):
    with pytest.raises(StabError, match=message):
        fit(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model, [FreezeParameters(parts)])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((["a"], 0), "n_epochs must be at least 1, got 0"),
        (([],), r"parts must be a list .* got \[\]"),
        (("a",), "got 'a'"),
    ],
)
def test_wrong_arguments_are_refused(args, message):
    with pytest.raises(StabError, match=message):
        FreezeParameters(*args)
