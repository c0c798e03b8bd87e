"""The average of several epochs' models, and its score."""

import pandas as pd
import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.run.averages import choose_epochs, mean_weights


class Folder:
    """What is asked of a run folder, with models of these epochs and their scores."""

    def __init__(self, path, epochs, scores=None):
        from asteroid_stab.run.layout import RunLayout

        self.path, self.layout = path, RunLayout(path)
        for epoch in epochs:
            file = self.layout.epoch_model(epoch)
            file.parent.mkdir(exist_ok=True)
            file.touch()
        if scores is not None:
            pd.DataFrame({"epoch": range(len(scores)), "val/si_sdr": scores}).to_csv(self.layout.metrics, index=False)


@pytest.mark.parametrize(
    ("n", "best_by", "wanted"),
    [
        (1, None, [5]),
        (3, None, [3, 4, 5]),
        (1, "val/si_sdr", [2]),
        (2, "val/si_sdr", [2, 4]),
        (3, "val/si_sdr", [0, 2, 4]),
    ],
)
def test_epochs_are_the_last_or_the_best(tmp_path, n, best_by, wanted):
    """Epoch 1 was not kept, epoch 3 not validated; epoch 5 is the worst."""
    run = Folder(tmp_path, [0, 2, 3, 4, 5], [3.0, 99.0, 9.0, float("nan"), 7.0, -1.0])
    assert choose_epochs(run, n, best_by) == wanted


@pytest.mark.parametrize(
    ("n", "best_by", "message"),
    [
        (3, None, "holds models of 2 epoch\\(s\\), and 3 are wanted: train with callbacks="),
        (2, "val/si_sdr", "holds models and val/si_sdr of 1 epoch\\(s\\), and 2 are wanted"),
        (1, "val/score", "holds models and val/score of 0 epoch\\(s\\), and 1 are wanted"),
    ],
)
def test_too_few_are_refused(tmp_path, n, best_by, message):
    with pytest.raises(StabError, match=message):
        choose_epochs(Folder(tmp_path, [0, 1], [1.0, float("nan")]), n, best_by)


def test_the_mean_is_exact():
    """Sums of float32 would lose the ones beside the large number."""
    half = torch.ones(1).half()
    of = {e: {"a": torch.tensor([1.0]), "n": torch.tensor(e), "h": half} for e in range(8)}
    of[0]["a"] = torch.tensor([1e8])
    mean = mean_weights(of)
    assert mean["a"].item() == torch.tensor((1e8 + 7) / 8).item()
    assert (mean["n"], mean["h"].dtype) == (7, torch.float16)


def test_models_of_different_parts_are_refused():
    one, two = {"a": torch.zeros(2)}, {"a": torch.zeros(2), "b": torch.zeros(1)}
    message = r"the models of epochs 4 and 5 are of different parts \(b\), as a progressive training makes them"
    with pytest.raises(StabError, match=message):
        mean_weights({3: one, 4: two})
    with pytest.raises(StabError, match=r"different parts \(a\)"):
        mean_weights({3: one, 4: {"a": torch.zeros(3)}})
