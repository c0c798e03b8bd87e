"""What tests share: where the real audio is, a corpus that is made in memory, and a small model."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_corpora import make_speech, noise, speech, write_list  # noqa: F401  fixtures

import asteroid_stab  # noqa: F401  repairs Asteroid: before any test imports it

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children of tests; two cores are shared by two workers

ROOT = Path(__file__).resolve().parents[1]
TOOLKITS = ("speechbrain", "espnet2", "accelerate")


def pytest_runtest_setup(item):
    """Skips tests that are marked ``toolkits``, ``docs`` or ``release`` where what they need is not installed."""
    if item.get_closest_marker("toolkits"):
        missing = [name for name in TOOLKITS if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"this environment has no {', '.join(missing)}: make test-toolkits makes one that has")
    if item.get_closest_marker("release") and importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("this environment has no check-jsonschema: make test-release makes one that has")
    if item.get_closest_marker("docs") and importlib.util.find_spec("myst_nb") is None:
        pytest.skip("this environment has no Sphinx: make test-docs makes one that has")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real audio beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real audio stands in ../shared/data beside the checkout, which a clone does not have")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _toy_cache(tmp_path_factory, worker_id):
    """A cache of the session's own, shared by its workers, so that no test depends on what a user's holds."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    os.environ["ASTEROID_STAB_CACHE"] = str(base / "toy-cache")
    os.environ["XDG_CONFIG_HOME"] = str(base / "config")  # what the tests trust is not what the user trusts


@pytest.fixture(scope="session")
def tiny_corpus():
    """A corpus of tones in memory: J sources of different pitch, which a few steps of training separate."""
    from asteroid_stab.data import Corpus, MixtureDataset

    class TinySet(MixtureDataset):
        def __init__(self, n_items, n_src, sample_rate, segment_s, seed, offset, spoil, n_mics=1):
            names = [f"tiny-{offset + i}" for i in range(n_items)]
            super().__init__(names, [1200] * n_items, n_src, sample_rate, segment_s, seed)
            self.offset, self.spoil, self.n_mics = offset, spoil, n_mics

        def read(self, row, start, stop):
            rng = np.random.default_rng(self.offset + row)
            time = np.arange(1200) / self.sample_rate
            pitch = rng.uniform(1, 1.5, (self.n_src, 1)) * 150 * 2.0 ** np.arange(self.n_src)[:, None]
            tones = np.sin(2 * np.pi * (pitch * time + rng.uniform(size=(self.n_src, 1))))
            sources = (tones * rng.uniform(0.2, 0.4, (self.n_src, 1))).astype(np.float32)
            if row in self.spoil:
                sources[self.spoil[row]] = 0.0
            sources = sources[rng.permutation(self.n_src), start:stop]
            mixture = sources.sum(0)
            if self.n_mics > 1:  # every other microphone hears the sources at other levels
                gains = rng.uniform(0.2, 1.0, (self.n_mics - 1, self.n_src)).astype(np.float32)
                mixture = np.concatenate([mixture[None], gains @ sources])
            return mixture, np.ascontiguousarray(sources)

    class TinyCorpus(Corpus):
        def __init__(self, n_train=16, n_valid=6, n_src=2, spoil=None, n_mics=1):
            super().__init__(n_src, 8000)
            self.n_mics = n_mics
            self.sizes = {"train": n_train, "valid": n_valid, "test": n_valid}
            self.spoil = spoil or {}

        def dataset(self, split, segment_s=None, seed=0):
            offset = {"train": 0, "valid": 10_000, "test": 20_000}[split]
            spoil = self.spoil if split == "train" else {}
            return TinySet(self.sizes[split], self.n_src, 8000, segment_s, seed, offset, spoil, self.n_mics)

    return TinyCorpus


@pytest.fixture(scope="session")
def tiny_data(tiny_corpus):
    """Makes a data module of the corpus of tones, or of another corpus of the same arguments."""
    from asteroid_stab.data import MixtureDataModule

    def make(segment_s=0.1, batch_size=4, seed=0, kind=tiny_corpus, **corpus):
        return MixtureDataModule(kind(**corpus), segment_s, batch_size, seed=seed)

    return make


@pytest.fixture(scope="session")
def tiny_model():
    """Makes a ConvTasNet of a few thousand parameters, the same for the same seed."""
    from asteroid_stab.models import conv_tasnet

    def make(n_src=2, seed=0):
        torch.manual_seed(seed)
        return conv_tasnet(
            n_src, n_filters=32, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=16, skip_chan=8, mask_act="relu"
        )

    return make


@pytest.fixture(scope="session")
def tiny_trainer():
    """Makes a Trainer as ``asteroid-stab train`` makes it, on the CPU, silent."""
    import pytorch_lightning as pl

    def make(root, callbacks=(), **kwargs):
        return pl.Trainer(
            **{
                "accelerator": "cpu",
                "devices": 1,
                "max_epochs": 1,
                "gradient_clip_val": 5.0,
                "logger": False,
                "callbacks": list(callbacks),
                "default_root_dir": root,
                "use_distributed_sampler": False,
                "enable_checkpointing": any("Checkpoint" in type(c).__name__ for c in callbacks),
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                **kwargs,
            }
        )

    return make


@pytest.fixture(scope="session")
def tiny_system(tiny_model):
    """Makes a StabSystem around the small model."""
    from asteroid.losses import PairwiseNegSDR

    from asteroid_stab.engine import StabSystem
    from asteroid_stab.losses import ExactPITLossWrapper

    def make(model=None, loss=None, lr=1e-2, scheduler=None, **kwargs):
        model = model or tiny_model()
        loss = loss or ExactPITLossWrapper(PairwiseNegSDR("sisdr"))
        parameters = [p for module in (model, loss) for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=lr)
        return StabSystem(
            model,
            optimizer,
            loss,
            scheduler=scheduler(optimizer) if scheduler else None,
            **kwargs,
        )

    return make


@pytest.fixture(scope="session")
def esc(tmp_path_factory):
    """ESC-50's layout: 5 folds of 4 classes with 2 recordings of 1.5 s at 44.1 kHz; one dog is silent for a second."""
    import soundfile

    root = tmp_path_factory.mktemp("esc")
    (root / "audio").mkdir()
    (root / "meta").mkdir()
    rng = np.random.default_rng(0)
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, category in enumerate(("dog", "rain", "rooster", "sea_waves")):
            for take in "AB":
                name = f"{fold}-{fold}{target}-{take}-{target}.wav"
                signal = 0.1 * rng.standard_normal(66_150) + 0.2 * np.sin(np.arange(66_150) * 0.01 * (target + 1))
                if category == "dog" and take == "B":
                    signal[:44_100] = 0.0
                soundfile.write(root / "audio" / name, signal, 44_100)
                lines.append(f"{name},{fold},{target},{category},True,{fold}{target},{take}")
    (root / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    return root
