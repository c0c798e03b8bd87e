"""Values between the host and a device."""

import numpy as np
import pytest
import torch

from asteroid_stab.transfer import Arriving, readable, send


@pytest.mark.parametrize("values", [[2, 0, 1], np.array([2, 0, 1]), torch.tensor([2, 0, 1])])
def test_values_of_the_host_are_sent(values):
    sent = send(values, torch.device("cpu"))
    assert sent.tolist() == [2, 0, 1]
    assert sent.dtype == torch.int64
    assert send(values, torch.device("meta")).device.type == "meta"


def test_numbers_keep_their_kind():
    assert send([[0.5]], torch.device("cpu")).dtype == torch.float32
    assert send(np.array([True]), torch.device("cpu")).dtype == torch.bool


def test_only_the_host_can_be_read_at_once():
    assert readable(torch.zeros(1))
    assert not readable(torch.zeros(1, device="meta"))


def test_what_arrives_has_no_graph():
    values = torch.ones(2, requires_grad=True) * 3
    arriving = Arriving(values)
    assert arriving.read().tolist() == arriving.read().tolist() == [3.0, 3.0]
    assert not arriving.read().requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_works_on_while_its_numbers_are_read():
    square = torch.randn(8192, 8192, device="cuda")
    numbers = send([1.0, 2.0, 3.0], square.device)
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        arriving = Arriving(numbers * 2)
        end = torch.cuda.Event()
        for _ in range(20):
            square = square @ square
        end.record()
        assert arriving.read().tolist() == [2.0, 4.0, 6.0]
        assert not end.query()  # the products are still being computed
        sent = send([5, 6], square.device)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert sent.tolist() == [5, 6]
