"""The number of torch's threads within a block."""

import pytest
import torch

from asteroid_stab.threads import torch_threads


def test_the_number_comes_back_after_an_error():
    before, seen = torch.get_num_threads(), []

    def stop():
        seen.append(torch.get_num_threads())
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"), torch_threads(before + 1):
        stop()
    assert [*seen, torch.get_num_threads()] == [before + 1, before]


def test_less_than_one_thread_is_refused_and_changes_nothing():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="positive"), torch_threads(0):
        pass
    assert torch.get_num_threads() == before
