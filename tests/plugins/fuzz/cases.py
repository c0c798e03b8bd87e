"""The kinds of input: each draws one, writes its damaged files into a folder, and gives the words of the command."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

from fuzz.damage import damage_bytes, damage_node, damage_saved, hostile_zip, saved, saved_value
from fuzz.originals import SPEECH, TINY, Originals
from fuzz.values import TEXTS, call, number, override_text, plain

Case = Callable[[Random, Path, Originals, Path], list[str]]
VERBS = (
    "train",
    "evaluate",
    "score",
    "separate",
    "prepare",
    "report",
    "study",
    "compare",
    "switches",
    "recipes",
    "push",
    "export",
)
OPTIONS = {
    "train": ["--print-config", "--or-resume", "--trust", "--config-dir", "--help"],
    "evaluate": ["--metrics", "--split", "--limit", "--n-jobs", "--overwrite", "--out", "--device", "--variant",
                 "--name", "data=mixture_files", "data=toy", "--recogniser", "--transcripts"],
    "score": ["--estimate-path", "--source-path", "--mixture-path", "--metrics", "--limit", "--out", "--overwrite",
              "--channel"],
    "separate": ["--out", "--window-s", "--overlap-s", "--device", "--variant", "--resample", "--channel",
                 "--overwrite"],
    "prepare": ["--librispeech", "--subset", "--out", "--n-src", "--n-mixtures", "--reuse", "--seed", "--noise",
                "--valid-speakers", "--n-valid", "--noise-subset", "--min-seconds", "--overwrite"],
    "report": ["--out", "--help"],
    "compare": ["--picture", "--by-snr", "--by-epoch", "--distribution", "--reach", "--split", "--baseline", "--page",
                "--cost", "--corpus", "--help"],
    "study": ["--out", "--seeds", "--jobs", "--config-dir", "--help"],
    "switches": ["--split", "--limit", "--device", "--overwrite"],
    "recipes": ["--config-dir", "--copy", "--help"],
    "push": ["--dry-run", "--out", "--license", "--sounds", "--split", "--help"],
    "export": ["--to", "--out", "--seconds", "--variant", "--overwrite", "--help"],
}  # fmt: skip
ONE_STEP = ["trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "trainer.max_epochs=1"]
COMPARE = [[], ["--by-epoch"], ["--distribution"], ["--cost"], ["--picture", "picture.png"], ["--page", "page.html"]]
EXPORT = ["--to", "torch", "--seconds", "0.3"]
MEASURE = ["--metrics", "si_sdr", "--n-jobs", "1", "--limit", "1"]


def _word(draw: Random, folder: Path, originals: Originals, canary: Path) -> str:
    names = ("run", "in.wav", "speech", "new")
    known = [*(folder / name for name in names), "train-clean-100", folder, "baseline/toy", "run"]
    return str(draw.choice([*known, *known, draw.choice(TEXTS), number(draw)]))


def words(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a verb with options and values of any kind."""
    verb = draw.choice(VERBS)
    made = [verb] if draw.random() < 0.97 else [draw.choice(TEXTS)]
    for kept, name in ((originals.run, "run"), (originals.recording, "in.wav"), (originals.speech, "speech")):
        _copy(kept, folder / name)  # the command line may ask to write to these
    if verb == "push":  # never to a hub
        made.append("--dry-run")
    if draw.random() < 0.8 and verb in ("evaluate", "separate", "report", "compare", "switches", "export"):
        made += ["run", *(["in.wav"] if verb == "separate" else [])]
    for _ in range(draw.randrange(4)):
        if draw.random() < 0.6:
            made.append(draw.choice(OPTIONS[verb]))
        made.append(_word(draw, folder, originals, canary))
    return [word.replace("\0", "") for word in made]


@lru_cache
def _keys() -> dict[str, list[str]]:
    """Keys of the composed config of some recipes."""
    from omegaconf import OmegaConf

    from asteroid_stab.run.compose import compose_recipe

    def flat(node: Any, at: str = "") -> list[str]:
        if isinstance(node, dict):
            return [key for name, child in node.items() for key in (f"{at}{name}", *flat(child, f"{at}{name}."))]
        return []

    papers = ("baseline", "dsd_lo", "attention_pit", "lir", "reweighting", "probpit", "variable_sources")
    papers += (
        "hysteresis",
        "graded_dropout",
        "decaying_layers",
        "sort_order",
        "mcl",
        "data_map",
        "random_iterations",
        "snr_exit",
    )
    recipes = [*(f"{paper}/toy" for paper in papers), "ssl/toy_se", "ssl/toy_mama"]
    return {name: flat(OmegaConf.to_container(compose_recipe(name, []), resolve=False)) for name in recipes}


def _overrides(draw: Random, recipe: str, canary: Path) -> list[str]:
    made = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        key = draw.choice(_keys()[recipe])
        if draw.random() < 0.1:
            at = draw.randrange(len(key))
            key = key[:at] + draw.choice(["x", "", ".", "é", "=", "@"]) + key[at + 1 :]
        if draw.random() < 0.25:
            key = key.partition(".")[0]  # the choice of an ingredient
        value = override_text(draw, canary)
        sign = draw.choice(["", "", "", "", "+", "++", "~"])
        made.append(f"{sign}{key}" + (f"={value}" if sign != "~" or draw.random() < 0.5 else ""))
    return [word.replace("\0", "") for word in made]


def overrides(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws overrides of a recipe, whose config is composed and checked."""
    recipe = draw.choice(list(_keys()))
    return ["train", recipe, "--print-config", *_overrides(draw, recipe, canary)]


def training(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws overrides of a recipe that is trained for one step."""
    made = [word for word in _overrides(draw, "baseline/toy", canary) if not word.lstrip("+~").startswith("run_dir")]
    # Epochs without number are no fault where they are asked for.
    return ["train", "baseline/toy", *TINY, *ONE_STEP, "run_dir=run", *made, "trainer.max_epochs=1"]


def recipe(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a recipe file of a user's own."""
    _copy(originals.recipe, folder / "recipes")
    file = folder / "recipes" / "own" / "mine.yaml"
    text = file.read_text(encoding="utf-8")
    kind = draw.random()
    if kind < 0.4:
        node = damage_node(draw, yaml.safe_load(text), canary)
        text = "# @package _global_\n" + yaml.safe_dump(node, allow_unicode=True)
    elif kind < 0.8:
        odd = ["\t", ": ", "- ", "&a *a", f"!!python/object/apply:os.system ['touch {canary}']", "lr: 1\nlr: 2"]
        lines = text.splitlines()
        lines.insert(draw.randrange(len(lines) + 1), draw.choice([*odd, "defaults: [own/mine]", *TEXTS]))
        text = "\n".join(lines)
    file.write_bytes(damage_bytes(draw, text.encode()) if draw.random() < 0.3 else text.encode("utf-8", "replace"))
    if draw.random() < 0.2:
        return ["recipes", "--config-dir", "recipes"]
    return ["train", "own/mine", "--config-dir", "recipes", "--print-config"]


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return target


def _use(draw: Random, run: Path, originals: Originals) -> list[str]:
    """Words of a verb that reads a run folder."""
    study = run.parent / "study"
    study.mkdir()
    for row, seed in (("a", run), ("b", originals.run)):
        (study / row).mkdir()
        (study / row / "1").symlink_to(seed)
    if draw.random() < 0.2:
        (study / "study.json").write_bytes(damage_bytes(draw, b'{"rows": {"b": ["x/y", "a.b=1"], "a": ["x/y"]}}'))
    return draw.choice([
        ["evaluate", str(run), *MEASURE, "--overwrite"],
        ["switches", str(run), "--split", "valid"],
        ["report", str(run)],
        ["compare", str(study), *draw.choice(COMPARE)],
        ["separate", str(run), str(originals.recording), "--out", "separated"],
        ["train", f"resume={run}", "trainer.max_epochs=3"],
        ["push", str(run), "ann/a", "--dry-run", "--sounds", "--out", "sent"],
        ["export", str(run), *EXPORT],
        ["train", "baseline/toy", *TINY, *ONE_STEP, "run_dir=new", f"init.path={run}"],
        ["train", "cascaded_pit/toy_fixed", *TINY, *ONE_STEP, "run_dir=new", f"loss.run={run}"],
    ])  # fmt: skip


def config(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged config of a run folder, which may come from anybody."""
    run = _copy(originals.run, folder / "run")
    file = run / "config.yaml"
    kind = draw.random()
    if kind < 0.75:
        new = (lambda d, c: call(d, c)) if kind < 0.25 else plain
        node = damage_node(draw, yaml.safe_load(file.read_text(encoding="utf-8")), canary, new)
        file.write_text(yaml.safe_dump(node, allow_unicode=True), encoding="utf-8")
    else:
        file.write_bytes(damage_bytes(draw, file.read_bytes()))
    return _use(draw, run, originals)


def parts(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a run folder of which files are missing, empty, folders, or another run's."""
    run = _copy(originals.run, folder / "run")
    files = sorted(file for file in run.rglob("*") if file.is_file())
    for file in draw.sample(files, draw.choice([1, 1, 2, 5])):
        file.unlink()
        kind = draw.randrange(4)
        if kind == 1:
            file.touch()
        elif kind == 2:
            file.mkdir()
        elif kind == 3:
            shutil.copy(draw.choice(sorted(f for f in originals.run.rglob("*") if f.is_file())), file)
    return _use(draw, run, originals)


def tables(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws damaged tables and summaries of a run folder."""
    run = _copy(originals.run, folder / "run")
    files = sorted(file for file in run.rglob("*") if file.suffix in (".csv", ".json", ".txt", ".npy", ".wav"))
    file = draw.choice(files)
    if file.suffix == ".csv" and draw.random() < 0.7:
        file.write_text(damage_table(draw, file.read_text(encoding="utf-8")), encoding="utf-8")
    elif file.suffix == ".json" and draw.random() < 0.7:
        node = damage_node(draw, json.loads(file.read_text(encoding="utf-8")), canary)
        file.write_text(json.dumps(node, default=str), encoding="utf-8")
    else:
        file.write_bytes(damage_bytes(draw, file.read_bytes()))
    return _use(draw, run, originals)


def damage_table(draw: Random, text: str) -> str:
    """Returns a CSV with cells, columns or rows replaced, removed or added."""
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(draw.choice([1, 1, 3])):
        row = draw.choice(rows)
        kind = draw.random()
        if kind < 0.6 and row:
            row[draw.randrange(len(row))] = str(draw.choice([*TEXTS, number(draw), "../../x.flac", "=1+1"]))
        elif kind < 0.75:
            row.append("x")
        elif kind < 0.9:
            del row[draw.randrange(len(row) + 1) :]
        else:
            rows.insert(draw.randrange(len(rows) + 1), list(draw.choice(rows)))
    out = io.StringIO()
    csv.writer(out, lineterminator=draw.choice(["\n", "\r\n"])).writerows(rows)
    return draw.choice(["", "", "\ufeff"]) + out.getvalue()


def lists(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged list of mixtures."""
    _copy(originals.lists, folder / "lists")
    (folder / "speech").symlink_to(originals.speech)
    file = folder / "lists" / "train.csv"
    if draw.random() < 0.75:
        file.write_text(damage_table(draw, file.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        file.write_bytes(damage_bytes(draw, file.read_bytes()))
    own = [*SPEECH, "data.valid_list=train.csv", "data.test_list=train.csv", "loader.batch_size=1"]
    return ["train", "baseline/toy", *TINY[4:], *own, *ONE_STEP, "run_dir=run"]


def packed(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged file of packed audio."""
    _copy(originals.packed, folder / "packed")
    for name in ("speech", "lists"):
        (folder / name).symlink_to(getattr(originals, name))
    file = draw.choice(sorted((folder / "packed").iterdir()))
    file.write_bytes(damage_bytes(draw, file.read_bytes()))
    own = [*SPEECH, "data.valid_list=train.csv", "data.test_list=train.csv", "data.cache=packed", "loader.batch_size=1"]
    return ["train", "baseline/toy", *TINY[4:], *own, *ONE_STEP, "run_dir=run"]


def audio(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged recording, or one of speech that lists are made of."""
    if draw.random() < 0.8:
        file = folder / draw.choice(["in.wav", "in.flac", "in.ogg", "in.mp3", "in"])
        sound = draw.choice([originals.recording, next(originals.speech.rglob("*.flac"))])
        file.write_bytes(damage_bytes(draw, sound.read_bytes()))
        return ["separate", str(originals.run), str(file), *draw.choice([[], ["--resample"], ["--window-s", "0.5"]])]
    _copy(originals.speech, folder / "speech")
    for file in draw.sample(sorted((folder / "speech").rglob("*.flac")), 2):
        file.write_bytes(damage_bytes(draw, file.read_bytes()))
    made = ["--librispeech", "speech", "--subset", "train-clean-100", "--min-seconds", "0.4", "--n-mixtures", "2"]
    return ["prepare", *made, "--out", "lists"]


@lru_cache
def _loaded(file: Path) -> Any:
    return torch.load(file, weights_only=True, map_location="cpu")


def mixtures(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws damaged mixtures and references of others, or their table."""
    sound = originals.recording.read_bytes()
    for name in ("mix/a.wav", "s1/a.wav", "s2/a.wav", "est/a_est1.wav", "est/a_est2.wav"):
        file = folder / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(damage_bytes(draw, sound) if draw.random() < 0.2 else sound)
    table = "mixture_ID,mixture_path,source_1_path,source_2_path\na,mix/a.wav,s1/a.wav,s2/a.wav\n"
    (folder / "set" / "list.csv").write_text(damage_table(draw, table), encoding="utf-8")
    place = draw.choice(["set", "set/list.csv"])
    rule = draw.choice([[], [f"--source-path={draw.choice([*TEXTS, 's{j}/{name}', '{name}{name}', '../{name}'])}"]])
    measured = ["--metrics", "si_sdr", "--n-jobs", "1"]
    return draw.choice([
        ["evaluate", str(_copy(originals.run, folder / "run")), place, *MEASURE],
        ["score", "set/est", place, *[word.replace("\0", "") for word in rule], *measured],
        ["score", "set/est/a_est1.wav", "set/s1/a.wav", *measured],
    ])  # fmt: skip


def model(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged model file: its bytes, its contents, or every argument at its extremes."""
    original = originals.run / "best_model.pth"
    file = folder / "model.pth"
    kind = draw.random()
    if kind < 0.3:
        file.write_bytes(damage_bytes(draw, original.read_bytes()))
    elif kind < 0.4:
        file.write_bytes(hostile_zip(draw, original.read_bytes(), canary))
    elif kind < 0.7:
        content = dict(_loaded(original))
        arguments = {**content["model_args"]}
        arguments[draw.choice(list(arguments))] = number(draw) if draw.random() < 0.8 else plain(draw, canary)
        file.write_bytes(saved({**content, "model_args": arguments}))
    else:
        file.write_bytes(damage_saved(draw, _loaded(original), canary))
    return draw.choice([
        ["separate", str(file), str(originals.recording), "--out", "separated"],
        ["train", "baseline/toy", *TINY, *ONE_STEP, "run_dir=new", f"init.path={file}"],
    ])  # fmt: skip


def shared(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged folder of a hub, as pull leaves it: config, card, metrics, sounds or model."""
    place = _copy(originals.shared, folder / "shared")
    file = draw.choice(sorted(one for one in place.rglob("*") if one.is_file()))
    kind = draw.random()
    if file.suffix == ".yaml" and kind < 0.7:
        node = damage_node(draw, yaml.safe_load(file.read_text(encoding="utf-8")), canary)
        file.write_text(yaml.safe_dump(node, allow_unicode=True), encoding="utf-8")
    elif file.suffix == ".pth" and kind < 0.7:
        content = dict(_loaded(originals.shared / file.name))
        if kind < 0.3:  # what a loaded model keeps beside its weights
            content["infos"] = plain(draw, canary)
        elif kind < 0.5:
            content["infos"] = {**content["infos"], "microphones": plain(draw, canary)}
        file.write_bytes(saved(content) if kind < 0.5 else damage_saved(draw, content, canary))
    else:
        file.write_bytes(damage_bytes(draw, file.read_bytes()))
    return draw.choice([
        ["separate", str(place), str(originals.recording), "--out", "separated"],
        ["evaluate", str(place), *MEASURE],
        ["push", str(place), "ann/b", "--dry-run", "--out", "sent"],
        ["export", str(place), *EXPORT],
        ["train", "baseline/toy", *TINY, *ONE_STEP, "run_dir=new", f"init.path={place}"],
    ])  # fmt: skip


def checkpoint(draw: Random, folder: Path, originals: Originals, canary: Path) -> list[str]:
    """Draws a damaged checkpoint, of a whole epoch or within one: its bytes or its contents."""
    original, name = draw.choice([(originals.run, "last.ckpt"), (originals.within, "within.ckpt")])
    run = _copy(original, folder / "run")
    file = run / "checkpoints" / name
    kind = draw.random()
    if kind < 0.3:
        file.write_bytes(damage_bytes(draw, file.read_bytes()))
    elif kind < 0.35:
        file.write_bytes(hostile_zip(draw, file.read_bytes(), canary))
    else:
        content = dict(_loaded(original / "checkpoints" / name))
        if name == "within.ckpt" and draw.random() < 0.5:  # of all that it holds, most is weights
            content["within_epoch"] = damage_node(draw, content["within_epoch"], canary, new=saved_value)
            file.write_bytes(saved(content))
        else:
            file.write_bytes(damage_saved(draw, content, canary))
    return draw.choice([
        ["train", f"resume={run}", "trainer.max_epochs=3"],
        ["train", f"resume={run}", "trainer.max_epochs=3"],
        ["train", "baseline/toy", *TINY, *ONE_STEP, "run_dir=new", f"init.path={file}"],
    ])  # fmt: skip


KINDS: dict[str, tuple[Case, int]] = {
    "words": (words, 10),
    "overrides": (overrides, 22),
    "training": (training, 10),
    "recipe": (recipe, 8),
    "config": (config, 10),
    "mixtures": (mixtures, 2),
    "parts": (parts, 5),
    "tables": (tables, 8),
    "lists": (lists, 4),
    "packed": (packed, 2),
    "audio": (audio, 6),
    "model": (model, 6),
    "checkpoint": (checkpoint, 4),
    "shared": (shared, 3),
}
"""Kind -> how an input of it is drawn, and how many of a hundred inputs are of it."""
