"""Models and recordings for the demo."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from asteroid_stab.models.files import save_model
from asteroid_stab.run.layout import RunLayout

RATE = 8000


@pytest.fixture
def model(tmp_path, tiny_model) -> Path:
    path = tmp_path / "model.pth"
    save_model(tiny_model(), path)
    return path


@pytest.fixture
def make_run(tmp_path, tiny_model):
    """Makes a run folder with a model and the tables of three epochs."""

    def make(name: str, seed: int = 0, config: str = "") -> Path:
        run = RunLayout(tmp_path / name)
        run.root.mkdir(parents=True)
        save_model(tiny_model(seed=seed), run.model)
        part = "_target_: asteroid_stab.data"
        run.config.write_text(f"data: {{{part}.ToyCorpus}}\nloader: {{{part}.MixtureDataModule}}\n{config}")
        run.metrics.write_text("epoch,val/si_sdr_i,train/loss\n0,1.5,-1\n1,2.5,-2\n2,3.25,-3\n")
        run.switches.write_text(
            "epoch,layer,n_seen,n_compared,n_switched,switch_ratio\n0,0,9,0,0,\n1,0,9,9,3,0.333\n2,0,9,9,1,0.111\n"
        )
        return run.root

    return make


@pytest.fixture
def recording(tmp_path):
    """Writes a file of noise."""

    def write(name: str = "talk.wav", n_samples: int = 12_000, rate: int = RATE, n_channels: int = 1) -> Path:
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (n_samples, n_channels)).astype(np.float32)
        sf.write(tmp_path / name, samples, rate)
        return tmp_path / name

    return write
