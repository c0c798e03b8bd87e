"""Where each file of a run folder stands: no other module spells a path of one."""

from __future__ import annotations

import os
import re
from pathlib import Path


class RunLayout:
    """The paths of a run folder. Nothing is read or written, and nothing needs to exist.

    Epochs are counted from 0 in file names, tables and checkpoints, and from 1 on the screen and in the report.

    Args:
        root: the run folder.

    Attributes:
        root: the run folder.
        config: the resolved config.
        versions: what the run was started with: command, packages, machine.
        model: the best model so far, which plain Asteroid opens.
        metrics: a row an epoch with all that was logged.
        switches: a row an epoch and layer with the switches that were counted in training.
        data_map: visits, mean, spread and switches of every training item, after the last epoch.
        item_weights: visits, dropped visits and mean weight of every training item, after the last epoch.
        last_checkpoint: the checkpoint of the last epoch, with which a run is resumed.
        within_checkpoint: the checkpoint within the present epoch, which is later than the last, where a run writes it.
        best_checkpoint: the checkpoint of the epoch with the best model.
        first_epoch: stands beside the checkpoints until the first of them is written: results without a checkpoint are
            of an epoch that was interrupted, and not of a run whose checkpoints somebody has removed.
        tensorboard: folder of TensorBoard's files.
        mlflow: database of MLflow.
        items: ids and names of the training items.
        fingerprint: fingerprint of the training items.
        report: the page that ``asteroid-stab report`` writes.

    Example:
        >>> run = RunLayout("runs/a")
        >>> run.last_checkpoint.as_posix(), run.stage_model(2).as_posix()
        ('runs/a/checkpoints/last.ckpt', 'runs/a/stages/stage_2.pth')
        >>> run.evaluation("test").utterances.as_posix()
        'runs/a/evaluation/test/utterances.csv'
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.versions = self.root / "versions.json"
        self.model = self.root / "best_model.pth"
        self.metrics = self.root / "metrics.csv"
        self.switches = self.root / "switches.csv"
        self.data_map = self.root / "data_map.npy"
        self.item_weights = self.root / "item_weights.npy"
        self.last_checkpoint = self.root / "checkpoints" / "last.ckpt"
        self.within_checkpoint = self.root / "checkpoints" / "within.ckpt"
        self.best_checkpoint = self.root / "checkpoints" / "best.ckpt"
        self.first_epoch = self.root / "checkpoints" / "first_epoch.txt"
        self.tensorboard = self.root / "tensorboard"
        self.mlflow = self.root / "mlflow.db"
        self.items = self.root / "assignments" / "items.csv"
        self.fingerprint = self.root / "assignments" / "fingerprint.txt"
        self.report = self.root / "report.html"

    def has_checkpoint(self) -> bool:
        """Whether the run can be gone on with."""
        return self.last_checkpoint.exists() or self.within_checkpoint.exists()

    def assignments(self, epoch: int) -> Path:
        """The table of the assignments of an epoch."""
        return self.root / "assignments" / f"epoch_{epoch:04d}.npy"

    def all_assignments(self) -> dict[int, Path]:
        """The tables of assignments that exist, by epoch."""
        return _numbered(self.root / "assignments", "epoch_", ".npy")

    def stage_model(self, stage: int) -> Path:
        """The best model of a stage, counted from 1, of a training in stages."""
        return self.root / "stages" / f"stage_{stage}.pth"

    def epoch_model(self, epoch: int) -> Path:
        """The model of an epoch."""
        return self.root / "models" / f"epoch_{epoch:04d}.pth"

    def average(self, kind: str, n: int) -> Path:
        """The average of the models of ``n`` epochs; ``kind`` is last or best."""
        return self.root / "averages" / f"{kind}_{n}.pth"

    def program(self, suffix: str, variant: str = "") -> Path:
        """The exported program of the best model or of a variant; ``suffix`` is ``.pt2`` or ``.onnx``."""
        return self.root / "programs" / f"{variant.replace(',', '_') or self.model.stem}{suffix}"

    def epoch_models(self) -> dict[int, Path]:
        """The models of epochs that exist, by epoch."""
        return _numbered(self.root / "models", "epoch_", ".pth")

    def whole_labels(self, split: str, epoch: int, digest: str) -> Path:
        """The labels that an epoch's model gave to the whole mixtures of a split.

        Args:
            split: train, valid or test.
            epoch: whose model.
            digest: hash of the model, the mixtures and their number.
        """
        return self.root / "assignments_whole" / f"{split}_{epoch:04d}_{digest[:16]}.npy"

    def whole_switches(self, split: str, limit: int | None = None) -> Path:
        """A row an epoch with the switches that were counted on the (first ``limit``) whole mixtures of a split."""
        part = "" if limit is None else f"_first{limit}"
        return self.root / f"switches_whole_{split}{part}.csv"

    def model_files(self) -> dict[str, Path]:
        """The models in the folders of the run by a word for each: ``models/epoch_0007.pth`` is ``epoch7``."""
        files = {file: re.fullmatch(r"([a-z]+)_(\d+)", file.stem) for file in self.root.glob("*/*.pth")}
        found = sorted((named[1], int(named[2]), file) for file, named in files.items() if named)
        return {f"{name}{n}": file for name, n, file in found}

    def moved(self, file: Path) -> Path:
        """Where a model file stands whose path was recorded before the run folder was moved here."""
        return self.root / file.name if file.name == self.model.name else self.root / file.parent.name / file.name

    def results(self) -> list[Path]:
        """The files and folders that exist of what the run has learnt and measured, from its first epoch on."""
        named = [self.model, self.metrics, self.switches, self.data_map, self.last_checkpoint, self.best_checkpoint]
        named += [self.item_weights, self.within_checkpoint, self.report]
        names = ("stages", "models", "averages", "programs", "assignments_whole", "evaluation")
        folders = [self.root / name for name in names]
        found = [*(path for path in named if path.exists()), *self.all_assignments().values()]
        found += [path for path in folders if path.is_dir() and any(path.iterdir())]
        return [*found, *sorted(self.root.glob("switches_whole_*.csv"))]

    def tables(self) -> list[Path]:
        """The files that exist of what the tables of a study are made of, without models and sounds; summaries last."""
        named = [self.config, self.versions, self.metrics, self.switches, self.data_map, self.item_weights]
        named += sorted(self.root.glob("switches_whole_*.csv"))
        evaluations = [EvaluationLayout(folder) for folder in sorted((self.root / "evaluation").glob("*"))]
        whole = [one for one in evaluations if one.summary.is_file()]
        named += [file for one in whole for file in (one.utterances, one.sources)] + [one.summary for one in whole]
        return [file for file in named if file.is_file()]

    def description(self) -> list[Path]:
        """The files that exist of what a run writes before its first epoch has ended."""
        named = (self.config, self.versions, self.items, self.fingerprint, self.first_epoch)
        return [path for path in named if path.exists()]

    def evaluation(self, split: str, variant: str = "", corpus: str = "", oracle: str = "") -> EvaluationLayout:
        """The evaluation of the run on a split; of a variant of it, or on another corpus, it stands beside.

        Args:
            split: train, valid or test.
            variant: words separated by commas, such as ``stage1,iterations2``.
            corpus: name of a corpus that is not the run's own.
            oracle: a beamformer that is given the sources, measured in place of the model.
        """
        name = "_".join([split, *(variant.split(",") if variant else []), *(["oracle", oracle] if oracle else [])])
        return EvaluationLayout(self.root / "evaluation" / (f"{name}@{corpus}" if corpus else name))

    def variants(self, split: str) -> list[EvaluationLayout]:
        """The evaluations that exist of variants of the run on a split of its own corpus."""
        found = sorted((self.root / "evaluation").glob(f"{split}_*"))
        return [EvaluationLayout(path) for path in found if "@" not in path.name and "_oracle_" not in path.name]

    def oracles(self, split: str, corpus: str = "") -> list[EvaluationLayout]:
        """The evaluations that exist of beamformers on a split, of the run's own corpus or of another one."""
        found = sorted((self.root / "evaluation").glob(f"{split}_oracle_*"))
        return [EvaluationLayout(path) for path in found if path.name.partition("@")[2] == corpus]

    def other_corpora(self, split: str) -> list[EvaluationLayout]:
        """The evaluations that exist of the run and its variants on a split of other corpora."""
        found = (self.root / "evaluation").glob(f"{split}*@*")
        return [EvaluationLayout(path) for path in sorted(found) if re.match(rf"{split}[_@]", path.name)]


class EvaluationLayout:
    """The paths of one evaluation.

    Args:
        folder: the folder of the evaluation.

    Attributes:
        folder: the folder of the evaluation.
        summary: settings, and the mean, deviation and percentiles of each metric.
        utterances: a row a mixture.
        sources: a row a source, where sources have classes.
        examples: the sounds that were kept.
        journal: the mixtures measured so far, beside the folder, until the evaluation is whole.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self.journal = self.folder.with_name(f"part_of_{self.folder.name}.jsonl")
        self.summary = self.folder / "summary.json"
        self.utterances = self.folder / "utterances.csv"
        self.sources = self.folder / "sources.csv"
        self.examples = ExamplesLayout(self.folder / "examples")

    def files(self) -> list[Path]:
        """The files and folders that an evaluation consists of; the summary, by which it is known, comes last."""
        return [self.utterances, self.sources, self.examples.folder, self.summary]

    @property
    def run(self) -> RunLayout:
        """The run that the evaluation belongs to."""
        return RunLayout(self.folder.parents[1])


class ExamplesLayout:
    """The paths of the sounds that an evaluation kept.

    Args:
        folder: the folder of the sounds.

    Attributes:
        folder: the folder of the sounds.
        listing: which mixture is the best, the median and the worst.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self.listing = self.folder / "examples.json"

    def mixture(self, kind: str) -> Path:
        """The mixture; ``kind`` is best, median or worst."""
        return self.folder / kind / "mixture.wav"

    def source(self, kind: str, number: int) -> Path:
        """A source, counted from 1."""
        return self.folder / kind / f"source_{number}.wav"

    def estimate(self, kind: str, number: int) -> Path:
        """The estimate of a source, counted from 1."""
        return self.folder / kind / f"estimate_{number}.wav"

    def sources(self, kind: str) -> list[Path]:
        """The sources that exist, in their order."""
        return list(_numbered(self.folder / kind, "source_", ".wav").values())

    def estimates(self, kind: str) -> list[Path]:
        """The estimates that exist, in their order."""
        return list(_numbered(self.folder / kind, "estimate_", ".wav").values())


class StudyLayout:
    """The paths of a study: a folder of run folders ROW/SEED.

    Args:
        root: the folder of the study.

    Attributes:
        root: the folder of the study.
        record: the rows that ran here, in their order.
        jobs: folder of the jobs of a cluster, with their output.

    Example:
        >>> study = StudyLayout("runs/s")
        >>> study.run("a", 1).root.as_posix(), study.log("a", 1).as_posix()
        ('runs/s/a/1', 'runs/s/a/1.log')
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)
        self.record = self.root / "study.json"
        self.jobs = self.root / "slurm_jobs"

    def run(self, row: str, seed: int) -> RunLayout:
        """The run of a row with a seed."""
        return RunLayout(self.root / row / str(seed))

    def log(self, row: str, seed: int) -> Path:
        """The output of the training and the evaluation of a run."""
        return self.root / row / f"{seed}.log"

    def steps(self, row: str, seed: int) -> Path:
        """The steps of a run that have come to their end."""
        return self.root / row / f"{seed}.json"


def study_runs(folder: Path) -> list[RunLayout]:
    """The run folders ROW/SEED of a study, in no particular order."""
    return [RunLayout(config.parent) for config in folder.glob("*/*/config.yaml")]


def _numbered(folder: Path, stem: str, suffix: str) -> dict[int, Path]:
    """The files ``stem``NUMBER``suffix`` of a folder by number, from the lowest on."""
    pattern = re.compile(re.escape(stem) + r"(\d+)" + re.escape(suffix))
    files = ((pattern.fullmatch(path.name), path) for path in folder.glob("*") if path.is_file())
    return dict(sorted((int(match[1]), path) for match, path in files if match))
