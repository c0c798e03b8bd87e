"""A program for tests that trains and evaluates as a study asks for it, in hundredths of a second and without torch.

A training of three epochs goes on with the epochs that its folder has; its model is a text that depends on seed, epochs
and the model that it starts from. In the environment, FAIL=ROW/SEED:VERB fails there, KILLED kills it, NOTHING leaves
no result, and PAUSE is the seconds of an epoch. ``calls.txt`` in the study's folder has what it was asked for.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

N_EPOCHS = 3
MIXTURES = ["m1", "m2", "m3", "m4"]


def value_of(words, key, default=""):
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), default)


def end_with_parent():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def write(file, text):
    """Whole or not at all, as the program writes."""
    new = file.with_name(f"{file.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(file)


def train(run, words):
    run.mkdir(parents=True, exist_ok=True)
    start = value_of(words, "init.path")
    begun = Path(start, "best_model.pth").read_text() if start else ""
    if not (run / "config.yaml").exists():
        write(run / "config.yaml", "recipe: x/y\ndata: {n_src: 2}\n")
    done = run / "epochs.txt"
    for epoch in range(len(done.read_text().split()) if done.exists() else 0, N_EPOCHS):
        time.sleep(float(os.environ.get("PAUSE", 0)))
        print(f"epoch {epoch}", flush=True)
        write(run / "metrics.csv", "epoch,step\n" + "".join(f"{i},{i}\n" for i in range(epoch + 1)))
        text = f"{value_of(words, 'seed')} {value_of(words, 'optim.lr')} {epoch} {begun}"
        write(run / "best_model.pth", hashlib.sha256(text.encode()).hexdigest())
        write(done, " ".join(map(str, range(epoch + 1))))  # last: this epoch is whole


def evaluate(run):
    time.sleep(float(os.environ.get("PAUSE", 0)))
    digest = hashlib.sha256((run / "best_model.pth").read_bytes()).hexdigest()
    scores = [int(hashlib.sha256(f"{digest} {name}".encode()).hexdigest()[:4], 16) / 4096 for name in MIXTURES]
    folder = run / "evaluation" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name},{score},0.0" for name, score in zip(MIXTURES, scores, strict=True)]
    write(folder / "utterances.csv", "\n".join(["name,si_sdr_i,input_si_sdr", *lines, ""]))
    numbers = {"n": len(scores), "mean": sum(scores) / len(scores), "p10": min(scores)}
    summary = {"metrics": {"si_sdr_i": numbers}, "failures": {}, "command": "c", "model_sha256": digest}
    write(folder / "summary.json", json.dumps(summary))


def main(verb, *words):
    run = Path(value_of(words, "run_dir")) if verb == "train" else Path(words[0])
    with open(run.parents[1] / "calls.txt", "a") as calls:
        calls.write(json.dumps([verb, *words]) + "\n")
    print(f"threads: {os.environ['OMP_NUM_THREADS']}", flush=True)
    if os.environ.get("FAIL") == f"{run.parent.name}/{run.name}:{verb}":
        sys.exit(f"program {verb}: error: as it was told")
    if os.environ.get("KILLED") == f"{run.parent.name}/{run.name}:{verb}":
        os.kill(os.getpid(), signal.SIGKILL)
    if verb == "train":
        train(run, words)
    elif os.environ.get("NOTHING") != f"{run.parent.name}/{run.name}:{verb}":
        evaluate(run)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(*sys.argv[1:])
