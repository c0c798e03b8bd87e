"""SLURM's programs for tests, by the name that they are called by: sbatch, srun, sacct, scontrol.

A job is a process group that waits for its dependencies. FAKE_SLURM in the environment is the folder of the queue, with
a folder for each job: its script, ``state`` and ``options.json``. ``fake_slurm.install(folder)`` makes the programs.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

BAD = {"FAILED", "CANCELLED", "TIMEOUT"}


def install(folder):
    """Makes the programs in ``folder/bin``; gives the environment that finds them."""
    programs, queue = folder / "bin", folder / "queue"
    programs.mkdir(parents=True)
    queue.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(__file__)} {name} "$@"\n')
        program.chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "FAKE_SLURM": str(queue)}


def queue():
    return Path(os.environ["FAKE_SLURM"])


def set_state(number, state):
    file = queue() / number / "state"
    file.with_suffix(".new").write_text(state)
    file.with_suffix(".new").replace(file)


def state_of(number):
    return (queue() / number / "state").read_text()


def sbatch(script):
    if os.environ.get("FAKE_SLURM_REFUSES"):
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = str(1 + len(list(queue().iterdir())))
    folder = queue() / number
    folder.mkdir()
    text = Path(script).read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.MULTILINE))
    (folder / "options.json").write_text(json.dumps({name: shlex.split(value)[0] for name, value in options.items()}))
    (folder / "script.sh").write_text(text)
    set_state(number, "PENDING")
    with open(folder / "log", "w") as log:
        subprocess.Popen(
            [sys.executable, "-S", __file__, "job", number], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    print(f"Submitted batch job {number}")


def job(number):
    """Waits for what the job depends on, and runs it; again where it was put into the queue again."""
    folder = queue() / number
    options = json.loads((folder / "options.json").read_text())
    before = options.get("dependency", "").split(":")[1:]
    while any(state_of(one) != "COMPLETED" for one in before):
        if any(state_of(one) in BAD for one in before):
            set_state(number, "CANCELLED")
            return
        time.sleep(0.02)
    job = {"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0",
           "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "node1"}  # fmt: skip
    while True:
        set_state(number, "RUNNING")
        process = subprocess.Popen(["bash", folder / "script.sh"], env={**os.environ, **job})
        (folder / "pid").write_text(str(process.pid))
        status = process.wait()
        if not (folder / "again").exists():
            break
        (folder / "again").unlink()
    set_state(number, "COMPLETED" if status == 0 else "FAILED")


def srun(*words):
    """Runs the command behind the options, with its output where these say."""
    number, words, files = os.environ["SLURM_JOB_ID"], list(words), {}
    while words[0].startswith("--"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            files[option] = words.pop(0).replace("%j", number).replace("%t", "0")
    for descriptor, option in ((1, "--output"), (2, "--error")):
        os.dup2(os.open(files[option], os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.execvp(words[0], words)


def sacct(*words):
    numbers = [word for before, word in pairwise(words) if before == "-j"]
    print("JobID|State|NodeList")
    for number in numbers:
        if (queue() / number).exists():
            print(f"{number}|{state_of(number)}|node1")


def scontrol(verb, number):
    assert verb == "requeue"
    (queue() / number / "again").touch()


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scontrol": scontrol, "job": job}[sys.argv[1]](*sys.argv[2:])
