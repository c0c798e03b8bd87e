"""A device on the CPU that has no float64, as Apple's: for tests on machines without one.

Its tensors hold tensors of the CPU and say that they are on ``standin:0``. It is registered with torch for the whole
process, so tests use it in processes of their own. Like Apple's, it takes and makes no float64, its
tensors have no ``numpy()``, and it does not compute with tensors of another device.
"""

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of a backend."""

    @staticmethod
    def get_amp_supported_dtype():
        return [torch.float16]


backend_registration._setup_privateuseone_for_python_backend("standin", _Module())
torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=DEVICE) is made on the CPU, then moved
# A module that moves keeps its parameters, which an optimizer may hold already.
torch.__future__.set_swap_module_params_on_conversion(True)
DEVICE = torch.device("standin:0")
WIDE = (torch.float64, torch.complex128)
BETWEEN = {aten.copy_, aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}  # may mix devices


def refuse(dtype, what):
    if dtype in WIDE:
        raise TypeError(f"{what}: the device has no {dtype}")


class OnDevice(torch.Tensor):
    """A tensor of the device."""

    @staticmethod
    def __new__(cls, held):
        refuse(held.dtype, "a tensor")
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE, requires_grad=False,
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    def tolist(self):
        return self.held.tolist()

    def __repr__(self):
        return f"OnDevice({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


def compute(func, args, kwargs):
    leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    own = [x for x in leaves if isinstance(x, OnDevice)]
    target = kwargs.get("device")
    target = None if target is None else torch.device(target)
    if own:
        refuse(kwargs.get("dtype"), func)
        strangers = [x for x in leaves if not isinstance(x, OnDevice) and x.ndim]
        if strangers and func.overloadpacket not in BETWEEN:
            raise RuntimeError(f"{func}: tensors of two devices")
    here = bool(own) if target is None else target.type == DEVICE.type
    held_args, held_kwargs = tree_map(lambda x: x.held if isinstance(x, OnDevice) else x, (args, kwargs))
    if target is not None:
        held_kwargs["device"] = torch.device("cpu")
        if target.type != DEVICE.type and not own:
            held_kwargs["device"] = target
    out = func(*held_args, **held_kwargs)
    if func.overloadpacket is aten._to_copy and target is not None and (here or own):
        out = out.clone() if any(out is x for x in tree_leaves(held_args)) else out
    if here:
        out = tree_map(lambda x: OnDevice(x) if isinstance(x, torch.Tensor) else x, out)
        return return_and_correct_aliasing(func, args, kwargs, out) if own else out
    return out


class Device(TorchDispatchMode):
    """Makes ``torch.zeros(..., device=DEVICE)`` and the like work within the block."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})
