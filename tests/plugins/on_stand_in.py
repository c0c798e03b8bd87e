"""Every loss, every stabilizer, and a training with validation, on the CPU and on a device without float64.

Prints JSON: for each case the figures of both, or the error. A program of its own, see ``mps_stand_in``.
"""

import json
import sys
import tempfile
import traceback
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from mps_stand_in import DEVICE, Device

import asteroid_stab  # noqa: F401  before asteroid
from asteroid_stab import precision

precision.WITHOUT_FLOAT64.add(DEVICE.type)

from asteroid.losses import PairwiseNegSDR, pairwise_neg_sisdr  # noqa: E402
from loss_entries import CYCLE, ENTRIES, SDR, B, J  # noqa: E402
from noisy_batch import noisy_batch  # noqa: E402

from asteroid_stab.items import Items  # noqa: E402
from asteroid_stab.losses import ExactPITLossWrapper, RisingSchedule  # noqa: E402
from asteroid_stab.models import conv_tasnet  # noqa: E402
from asteroid_stab.run.assignments import write_epoch, write_items  # noqa: E402
from asteroid_stab.stabilizers import (  # noqa: E402
    GradedDropout,
    LossThreshold,
    Reweighting,
    SampleDropout,
    Stabilization,
    SwitchCounter,
)

CPU = torch.device("cpu")
ITEMS = Items(B, fingerprint="f" * 16)
STABILIZERS = {
    "sample dropout": lambda: SampleDropout(epsilon_db=0.0, keep_same=False),
    "sample dropout by sdr_i": lambda: SampleDropout(epsilon_db=0.0, keep_same=False, metric="sdr_i"),
    "graded dropout": lambda: GradedDropout(epsilon_db=0.2, keep_same=False, per_db=0.2, per_switch=0.1),
    "reweighting": lambda: Reweighting(alpha=0.2),
    "reweighting by mixtures": lambda: Reweighting(schedule=RisingSchedule(0.2, until=3), level="mixture"),
    "loss threshold": lambda: LossThreshold(threshold=3.0),
    "switch counter": SwitchCounter,
}


def steps(loss, stabilizers, device, n_src=J, n_layers=0, n_samples=600):
    """The figures of two epochs of two steps; between the steps the state is saved and taken by others."""
    made = [loss().to(device), loss().to(device)]
    stabs = [Stabilization(one, [make() for make in stabilizers], items=ITEMS) for one in made]
    figures, values = [], []
    for epoch in range(2):
        stabs[0].begin_epoch(epoch)
        for step in range(2):
            est, targets = noisy_batch(n_src, B, (n_samples,), 0.7, 10 * epoch + step, torch.float32)
            if n_layers:
                est = torch.stack([est + targets, est])
            est = est.to(device).requires_grad_()
            targets = targets.to(device)
            value = stabs[0](est, targets, mixture=targets.sum(1), ids=torch.arange(B))
            value.backward()
            values += [value.item(), est.grad.cpu().norm().item()]
            if step == 0:
                stabs[1].load_state_dict(stabs[0].state_dict())
                stabs[1].begin_epoch(epoch)
                stabs.reverse()
        figures.append(stabs[0].end_epoch())
    return {f"{name} of epoch {i}": value for i, one in enumerate(figures) for name, value in one.items()} | {
        f"value {i}": value for i, value in enumerate(values)
    }


def training(place, device):
    """The logged figures of an epoch of training and validation."""
    import pytorch_lightning as pl
    from pytorch_lightning.accelerators import CPUAccelerator
    from pytorch_lightning.strategies import SingleDeviceStrategy

    from asteroid_stab.engine import StabSystem

    class StandIn(CPUAccelerator):
        def setup_device(self, device):
            """Takes the stand-in too."""

    torch.manual_seed(0)
    model = conv_tasnet(2, n_filters=32, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=16, skip_chan=8, mask_act="relu")
    sources = torch.randn(8, 2, 800, generator=torch.Generator().manual_seed(0))
    items = [(one.sum(0), one, i) for i, one in enumerate(sources)]
    loader = torch.utils.data.DataLoader(items, batch_size=4)
    loss = ExactPITLossWrapper(PairwiseNegSDR("sisdr"))
    system = StabSystem(model, torch.optim.Adam(model.parameters()), loss, loader, loader)
    trainer = pl.Trainer(
        strategy=SingleDeviceStrategy(device, accelerator=StandIn()), max_epochs=2, logger=False,
        default_root_dir=place, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, gradient_clip_val=5.0,
    )  # fmt: skip
    trainer.fit(system)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def cases(place):
    """Each case by its name: a function of the device."""
    labels = torch.stack([torch.arange(J), CYCLE, CYCLE[CYCLE], torch.tensor([0, 2, 1])])
    for name in ("labels", "best"):
        write_items(place / name, [f"item {i}" for i in range(B)], "f" * 16)
        write_epoch(place / name, 0, labels.numpy()[None].astype("int8"))
    for cls, settings in ENTRIES.items():
        for setting, entry in settings.items():

            def of_loss(device, entry=entry):
                def make():
                    torch.manual_seed(0)
                    return entry.make(SDR, place)

                return steps(make, [], device, n_layers=entry.n_layers)

            yield f"{cls.__name__} {setting}".strip(), of_loss
    for name, make in STABILIZERS.items():
        yield name, lambda device, make=make: steps(lambda: ExactPITLossWrapper(pairwise_neg_sisdr), [make], device)
    yield "five sources", lambda device: steps(lambda: ExactPITLossWrapper(pairwise_neg_sisdr), [], device, n_src=5)
    yield "training", lambda device: training(place, device)


def result(case, device, mode):
    try:
        with mode:
            return case(device)
    except Exception:
        return traceback.format_exc()


def main():
    warnings.simplefilter("ignore")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases(Path(folder)):
            found[name] = {}
            for device, mode in ((CPU, nullcontext()), (DEVICE, Device())):
                found[name][device.type] = result(case, device, mode)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
