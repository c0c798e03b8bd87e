"""``asteroid-stab score EST REF``: separation metrics of estimates that are there already, without a model."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from asteroid_stab.cli.arguments import path, positive
from asteroid_stab.cli.evaluate_options import add_metrics, add_n_jobs, check_measuring
from asteroid_stab.cli.evaluation_place import check_broken, check_place, move_evaluation
from asteroid_stab.cli.evaluation_table import show
from asteroid_stab.cli.measuring import possible_metrics, share_cores
from asteroid_stab.cli.recognition import Recognition, add_recognition
from asteroid_stab.errors import StabError, some
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.run.layout import EvaluationLayout

if TYPE_CHECKING:
    from asteroid_stab.data.corpora.mixture_files import MixtureFiles

MIXTURE_PATH, SOURCE_PATH, ESTIMATE_PATH = "mix/{name}.wav", "s{j}/{name}.wav", "{name}_est{j}.wav"
SUMMARY = "measures estimates against their references, without a model"
_EXAMPLES = """examples:
  asteroid-stab score estimates/ ref/                     estimates/NAME_est1.wav, ref/s1/NAME.wav, ref/mix/NAME.wav
  asteroid-stab score estimates/ list.csv                 mixture_path, source_1_path, source_2_path
  asteroid-stab score estimates/ ref/ --source-path {name}_s{j}.wav --estimate-path {name}/{j}.wav --metrics si_sdr
  asteroid-stab score est.wav ref.wav --mixture-path mix.wav
"""


def main(argv: list[str]) -> int:
    """Measures the estimates, prints their table and, with ``--out``, writes it.

    Raises:
        StabError: a folder, table or file cannot be used, estimates are missing, or the folder cannot be written.
    """
    options = _options(argv)
    recognition = Recognition.of(options)
    place = None if options.out is None else EvaluationLayout(options.out)
    if place is not None:
        check_place(place, is_ours=False)
        if place.summary.is_file() and not options.overwrite:
            raise StabError(f"{place.folder} holds an evaluation already; --overwrite replaces it")

    from asteroid_stab.atomic import working_folder
    from asteroid_stab.metrics.tables import summary_of, write_tables

    dataset, estimates = _read(options)
    if not dataset.has_mixtures:
        print("note: improvements are left out: there are no mixtures to compare with (--mixture-path names them)")
    evaluation = _measure(dataset, estimates, options, recognition)
    facts = {"split": "score", "sample_rate": dataset.sample_rate, "command": f"asteroid-stab score {shlex.join(argv)}"}
    facts |= {"estimates": str(options.estimates), "references": str(options.references), **recognition.settings}
    facts |= {"limit": options.limit, "n_of": len(dataset)}
    show(summary := summary_of(evaluation, facts))
    if place is not None:
        try:
            with working_folder(place.folder.parent) as new:
                write_tables(evaluation, new, facts)
                move_evaluation(EvaluationLayout(new), place)
        except OSError as error:
            raise StabError(f"cannot write to {str(place.folder)!r}: {error.strerror or error}") from error
        print(f"written to {place.folder}")
    check_broken(summary)
    return 0


def _read(options: argparse.Namespace) -> tuple[MixtureFiles, dict[str, list[str]]]:
    """The references with their mixtures, and the files of the estimates by number of the source.

    Raises:
        StabError: some are missing, or do not fit the others.
    """
    from asteroid_stab.audio.file import read_header
    from asteroid_stab.data.corpora.checked_files import check_files
    from asteroid_stab.data.corpora.mixture_files import MIXTURE, MixtureFiles
    from asteroid_stab.microphones import MicChoice

    est, ref = options.estimates, options.references
    if not ref.exists():
        raise StabError(f"there are no references {str(ref)!r}")
    if ref.is_file() and ref.suffix.lower() != ".csv":
        if not est.is_file():
            raise StabError(f"the estimate of the file {ref} must be a file, got {str(est)!r}")
        _check_unused(options, ["source_path", "estimate_path"], "the references are one file")
        names, folder, place = [ref.stem], ref.parent, est.parent
        paths = {MIXTURE: [options.mixture_path]} if options.mixture_path else {}
        paths["source 1"], estimates = [str(ref)], {"estimate 1": [str(est)]}
    else:
        names, paths, folder, estimates = _read_folders(options)
        place = est
    rate = read_header(paths["source 1"][0]).sample_rate
    choice = None if options.channel is None else MicChoice([options.channel - 1])
    counts = {role: _n_channels(files) for role, files in {"reference": paths["source 1"], **estimates}.items()}
    allowed = {role: (1,) if choice is None else tuple({1, n}) for role, n in counts.items()}
    try:
        dataset = MixtureFiles(names, paths, folder, rate, choice=choice)
        check_files({"reference": paths["source 1"], **estimates}, rate, place, "reference", allowed, known=True)
    except StabError as error:
        if error.argument == "mics":
            raise StabError(f"--channel must be one of the files' channels, from 1, got {options.channel}") from error
        if choice is None and "channels instead of 1" in str(error):
            raise StabError(f"{error}; --channel N takes one, from 1") from error
        raise
    if beyond := [role for role, n in counts.items() if 1 < n < (options.channel or 1)]:
        raise StabError(
            f"--channel must be at most {counts[beyond[0]]}, the channels of {beyond[0]}, got {options.channel}"
        )
    return dataset, estimates


def _read_folders(
    options: argparse.Namespace,
) -> tuple[list[str], dict[str, list[str]], Path, dict[str, list[str]]]:
    """Names, paths and folder of the references, and the paths of the estimates that the rule gives for them."""
    from asteroid_stab.data.corpora import file_rules as rules
    from asteroid_stab.data.corpora.mixture_files import find_mixtures, listed_sources

    est, ref = options.estimates, options.references
    if not est.is_dir():
        raise StabError(f"the estimates of {ref} must be in a folder, got {str(est)!r}")
    if ref.is_file():
        _check_unused(options, ["source_path", "mixture_path"], f"{ref} names its files itself")
    try:
        source_path = rules.check_rule("--source-path", options.source_path or SOURCE_PATH, [rules.NAME])
        rule = rules.check_rule("--estimate-path", options.estimate_path or ESTIMATE_PATH, [rules.NAME])
        asked = options.mixture_path and rules.check_rule(
            "--mixture-path", options.mixture_path, [rules.NAME], [rules.NAME]
        )
    except ValueError as error:
        raise StabError(str(error)) from error
    if ref.is_dir() and not rules.files_by_rule(ref, source_path):
        raise StabError(f"{ref} has no references {source_path}: --source-path gives the rule of their names")
    n_src = listed_sources(ref) if ref.is_file() else rules.count_by_rule(ref, source_path)
    usual = MIXTURE_PATH if ref.is_dir() and rules.files_by_rule(ref, MIXTURE_PATH) else None
    names, paths, folder = find_mixtures(ref, asked or usual, source_path, n_src)
    if n_src > 1 and rules.NUMBER not in rule:
        raise StabError(f"--estimate-path must have {{j}}, since there are {n_src} sources, got {rule!r}")
    if rules.NUMBER in rule and (more := rules.files_by_rule(est, rule, n_src + 1)):
        raise StabError(f"{est} has more estimates than the {n_src} source{'s' * (n_src > 1)}: {min(more.values())}")
    if beyond := sorted(rules.files_by_rule(est, rule).keys() - {*names}):
        print(f"note: estimates without a reference are left out: {some(beyond)} ({len(beyond)})")
    return (
        names,
        paths,
        folder,
        {
            f"estimate {j}": [f"{est}/{rules.path_by_rule(rule, name, j)}" for name in names]
            for j in range(1, n_src + 1)
        },
    )


def _n_channels(files: Sequence[str]) -> int:
    """Number of channels of the first of some files; 1 where it cannot be read, which is said later."""
    from asteroid_stab.audio.file import Header, probe_headers

    found = next(iter(probe_headers(files[:1])), None)
    return found.n_channels if isinstance(found, Header) else 1


def _check_unused(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuses rules that nothing reads."""
    if given := [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]:
        raise StabError(f"{' and '.join(given)} must be left out: {why}")


def _measure(
    dataset: MixtureFiles, estimates: dict[str, list[str]], options: argparse.Namespace, recognition: Recognition
) -> Any:
    import numpy as np
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.audio.file import read_channels
    from asteroid_stab.cores import available_cores
    from asteroid_stab.metrics.evaluation import measure_all
    from asteroid_stab.metrics.pool import MetricPool
    from asteroid_stab.metrics.separated import given

    def read(item: int, mixture: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        found = [paths[item] for paths in estimates.values()]
        chosen, n = (options.channel or 1) - 1, mixture.shape[-1]
        return torch.from_numpy(
            np.stack([read_channels(p, 0, n, [chosen if _n_channels([p]) > 1 else 0])[0] for p in found])
        )

    metrics = tuple(dict.fromkeys(["si_sdr", *(options.metrics or STANDARD)]))
    metrics = possible_metrics(metrics, dataset.sample_rate, dataset.n_src)
    n_items = min(options.limit or len(dataset), len(dataset))
    words = recognition.errors_in(dataset, options.limit)
    n_jobs = min(share_cores(available_cores(), options.n_jobs, on_cpu=False)[0], n_items)
    with (
        MetricPool(dataset.sample_rate, metrics, n_jobs) as pool,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(f"{n_items} mixtures", total=n_items)
        advance = partial(progress.advance, task)
        separate = partial(given, dataset, read)
        evaluation = measure_all(separate, {}, dataset, pool, options.limit, advance, words=words)
    evaluation.has_mixtures = dataset.has_mixtures
    return evaluation


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    made = EvaluationLayout("DIR")
    parser = argparse.ArgumentParser(
        prog="asteroid-stab score",
        description=fill(
            "Measures estimates, in any order of the sources, against their references, and prints the table "
            "that asteroid-stab evaluate prints. In the rules, {name} is any text and {j} the number of a source or "
            "estimate, from 1.",
            100,
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("estimates", type=path, metavar="EST", help="folder of estimates, or a file")
    parser.add_argument("references", type=path, metavar="REF", help="folder or table (.csv) of references, or a file")
    parser.add_argument("--estimate-path", metavar="RULE", help=f"names of the estimates in EST ({ESTIMATE_PATH})")
    parser.add_argument("--source-path", metavar="RULE", help=f"names of the references in REF ({SOURCE_PATH})")
    parser.add_argument(
        "--mixture-path", metavar="RULE", help=f"names of the mixtures in REF ({MIXTURE_PATH} where there are any)"
    )
    parser.add_argument(
        "--channel", type=positive, metavar="N", help="the channel to take, from 1, of files with several"
    )
    add_metrics(parser)
    add_recognition(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N mixtures")
    add_n_jobs(parser)
    parser.add_argument(
        "--out", type=path, metavar="DIR", help=f"folder for {made.utterances.name} and {made.summary.name}"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an evaluation in DIR")
    return parser


def _options(argv: list[str]) -> argparse.Namespace:
    parser = make_parser()
    options = parser.parse_intermixed_args(argv)
    options.metrics = check_measuring(parser, options.metrics or [], options.n_jobs)
    return options
