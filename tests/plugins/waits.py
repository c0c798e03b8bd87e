"""Finds where a training step would make a host wait for its GPU, on a machine without one.

The step goes the way that it goes on a GPU, in all branches that depend on it, and computes on the CPU. Whatever would
read a value of the device, or send one to it from memory that is not pinned, raises.
"""

import contextlib
import sys
from collections import Counter

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from asteroid_stab import transfer
from asteroid_stab.data import MixtureDataModule
from asteroid_stab.losses import assignment

READS = {
    "item", "tolist", "cpu", "numpy", "__array__", "__bool__", "__float__", "__int__", "__index__", "__contains__",
    "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "equal", "allclose", "is_nonzero",
}  # fmt: skip
MAKES = {"tensor", "as_tensor", "from_numpy"}  # of what the host has; on the host, unless a device is named
OPERATORS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"}


class WaitError(Exception):
    """A host would wait for its GPU."""


def has_mask(index):
    """Whether an index is, or holds, a mask, whose entries that are true must be counted, or a list to be sent."""
    if isinstance(index, tuple):
        return any(has_mask(part) for part in index)
    return isinstance(index, list) or (isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8))


def on_host(args):
    """Whether there are tensors, and all of them are the host's own, such as shapes."""
    tensors = [a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, torch.Tensor)]
    return bool(tensors) and all(getattr(tensor, "of_host", False) for tensor in tensors)


class Functions(TorchFunctionMode):
    """Refuses what Python may ask of a tensor."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        goes = [arg for arg in [*args[1:], kwargs.get("device")] if isinstance(arg, (str, torch.device, torch.Tensor))]
        host = on_host(args[:1] if name == "to" else (args, kwargs))
        makes = name in MAKES and (host or not isinstance(args[0], torch.Tensor))
        if makes or name == "new_tensor" or (name == "to" and host):
            sends = name == "new_tensor" or kwargs.get("device") is not None or (name == "to" and goes)
            refused = sends
        else:
            masked = name in ("__getitem__", "__setitem__") and has_mask(args[1])
            refused = not host and (name in READS or masked or (name == "to" and "cpu" in map(str, goes)))
            refused = refused and not (name == "to" and all(isinstance(arg, torch.device) for arg in goes))
        if refused:
            raise WaitError(f"{name}: {args[:2]}")
        result = func(*args, **kwargs)
        if (host or makes) and isinstance(result, torch.Tensor):
            result.of_host = True
        return result


class Operators(TorchDispatchMode):
    """Refuses what torch's own code may do with one."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put_", "index_put") and has_mask(tuple(args[1]))
        if (name in OPERATORS or masked) and not on_host(args):
            raise WaitError(name)
        return func(*args, **(kwargs or {}))


def ids_of_the_batch(data, ids):
    """The ids that the host kept of the batch; a GPU is asked for other ids."""
    on_device, kept = data._sent_ids
    assert on_device is ids
    return kept.tolist()


class Pretended:
    """A GPU that is none: see the module.

    Attributes:
        counts: of what is allowed: ``read`` (numbers that were on their way), ``send`` (from pinned memory), and
            ``assign`` (searches of assignments, which a GPU has its own program for), ``ids`` (of the batch, which the
            host has kept), ``istft`` (torch's, which looks at its windows: one task of pre-training has it).
    """

    def __init__(self, monkeypatch):
        self.counts = Counter()
        self._modes = None
        readable, send, read = transfer.readable, transfer.send, transfer.Arriving.read

        def arrived(values):
            copy = read(values).clone()
            copy.of_host = True
            return copy

        for module in [*sys.modules.values()]:
            if getattr(module, "readable", None) is readable:
                monkeypatch.setattr(module, "readable", lambda values: False)
            if getattr(module, "send", None) is send:
                monkeypatch.setattr(module, "send", self.allowed("send", send))
        monkeypatch.setattr(transfer.Arriving, "read", self.allowed("read", arrived))
        monkeypatch.setattr(MixtureDataModule, "ids_on_host", self.allowed("ids", ids_of_the_batch))
        monkeypatch.setattr(assignment, "assign_on_device", self.allowed("assign", assignment._by_scipy))
        monkeypatch.setattr(torch, "istft", self.allowed("istft", torch.istft))  # looks at the sum of its windows
        # The optimizer is torch's: it reads the number of its steps, which it keeps on the CPU.
        adam = sys.modules["torch.optim.adam"]
        monkeypatch.setattr(adam, "adam", self.allowed("optimizer", adam.adam))

    def allowed(self, name, function):
        """The function, which may do all that a step may not."""

        def call(*args, **kwargs):
            self.counts[name] += 1
            with self.off():
                return function(*args, **kwargs)

        return call

    @contextlib.contextmanager
    def on(self):
        """Refuses waits in the block."""
        outer = self._modes is not None
        if not outer:
            self._enter()
        try:
            yield
        finally:
            if not outer:
                self._leave()

    @contextlib.contextmanager
    def off(self):
        """Allows them in the block, within one that refuses them."""
        inner = self._modes is not None
        if inner:
            self._leave()
        try:
            yield
        finally:
            if inner:
                self._enter()

    def _enter(self):
        self._modes = [Operators(), Functions()]
        for mode in self._modes:
            mode.__enter__()

    def _leave(self):
        for mode in reversed(self._modes):
            mode.__exit__(None, None, None)
        self._modes = None
