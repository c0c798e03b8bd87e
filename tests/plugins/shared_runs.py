"""A run folder as push finds it: model, config with paths of a machine, epochs, and an evaluation with sounds."""

import csv
import json
from pathlib import Path

import torch
import yaml
from trees import write

from asteroid_stab.models import conv_tasnet, save_model
from asteroid_stab.run.layout import RunLayout

CONV = {"n_filters": 8, "n_blocks": 1, "n_repeats": 1, "bn_chan": 4, "hid_chan": 4, "skip_chan": 4}
PLACE = "/" + "srv/somebody"  # of a machine


def shared_run(root, recipe="ssl/toy_finetune", evaluated=True):
    """Writes the folder; returns its layout."""
    run = RunLayout(Path(root))
    torch.manual_seed(0)
    save_model(conv_tasnet(2, **CONV), run.model, {"recipe": recipe})
    config = {
        "recipe": recipe,
        "run_dir": f"{PLACE}/runs/a",
        "data": {"_target_": "asteroid_stab.data.corpora.librimix.LibriMixCorpus", "root": f"{PLACE}/corpora",
                 "n_src": 2},
        "loader": {"_target_": "asteroid_stab.data.MixtureDataModule"},
        "logger": {"note": f"see {PLACE}/log", "monitor": "val/si_sdr"},
    }  # fmt: skip
    run.config.write_text(yaml.safe_dump(config))
    run.versions.write_text(json.dumps({"n_parameters": 12_345, "command": f"asteroid-stab train {PLACE}"}))
    run.metrics.write_text("epoch,seconds,val/si_sdr_i\n0,60,1\n1,75,2\n")
    if evaluated:
        _evaluation(run)
    return run


def _evaluation(run):
    place = run.evaluation("test")
    place.folder.mkdir(parents=True)
    values = [5.0, 7.0, 9.0, 7.0]
    with open(place.utterances, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "name", "input_si_sdr", "si_sdr", "si_sdr_i"])
        table.writerows([i, f"m{i}", 0.0, value, value] for i, value in enumerate(values))
    numbers = {"n": 4, "mean": 7.0, "std": 1.4}
    metrics = {"si_sdr": numbers, "input_si_sdr": {**numbers, "mean": 0.0}, "si_sdr_i": numbers}
    place.summary.write_text(json.dumps({"command": f"evaluate {PLACE}", "metrics": metrics, "failures": {}}))
    examples = place.examples
    for file in (examples.mixture("median"), examples.estimate("median", 1), examples.estimate("median", 2)):
        write(file, torch.randn(800).numpy() * 0.1)
    examples.listing.write_text(json.dumps([{"kind": "median", "name": "m1", "si_sdr_i": 7.0}]))
