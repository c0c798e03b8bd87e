"""The words of ``asteroid-stab evaluate``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from asteroid_stab.cli.arguments import add_trust, add_variant, path, positive
from asteroid_stab.cli.recognition import add_recognition
from asteroid_stab.cores import check_processes
from asteroid_stab.errors import StabError, nearest
from asteroid_stab.metrics.names import METRICS, ORACLES, STANDARD
from asteroid_stab.paths import user_path
from asteroid_stab.run.layout import RunLayout

ALL_STANDARD = "standard"
"""Word of ``--metrics`` for the metrics that are measured without it."""
_CORPUS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_EXAMPLES = """examples:
  asteroid-stab evaluate runs/a                                           the run's own test set
  asteroid-stab evaluate runs/a data=wham data.root=/corpora/wham         another corpus, with the keys of its group
  asteroid-stab evaluate runs/a data.root=/moved --name second-copy       the run's corpus with other keys, beside it
  asteroid-stab evaluate runs/a meetings/ data.mixture_path={name}.wav data.source_path={name}_s{j}.wav
  asteroid-stab evaluate runs/a --oracle mvdr                             a beamformer beside the run's own model
  asteroid-stab evaluate runs/a list.csv                                  mixture_path, source_1_path, source_2_path
"""


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parses the words; overrides may follow an option, ``--metrics`` too, though it takes several words.

    Words that are no overrides are the ``files``: folders and tables of mixtures.
    """
    parser = make_parser()
    options = parser.parse_intermixed_args(argv)
    words = options.metrics or []
    options.overrides += [word for word in words if _is_override(word)]
    metrics = [word for word in words if word not in options.overrides]
    options.metrics = check_measuring(parser, metrics, options.n_jobs)
    options.files = [Path(user_path(word, "it")) for word in options.overrides if not _is_override(word)]
    options.overrides = [word for word in options.overrides if _is_override(word)]
    if options.name is not None:
        check_corpus_name(options.name, "--name")
    if options.oracle is not None:
        for word in ("variant", "device", "batch_size"):
            if getattr(options, word) != parser.get_default(word):
                parser.error(f"argument --{word.replace('_', '-')}: is of a model, and --oracle takes none")
    return options


def check_measuring(parser: argparse.ArgumentParser, metrics: Sequence[str], n_jobs: int | None) -> list[str]:
    """Returns the metrics, with the standard ones in place of the word for them.

    Ends the program, with the usage of ``parser``, where a metric is none or the processes are beyond reason.
    """
    known = [*METRICS, ALL_STANDARD]
    for word in metrics:
        if word not in known:
            parser.error(f"argument --metrics: must be some of {', '.join(known)}, got {word!r}{nearest(word, known)}")
    try:
        check_processes("argument --n-jobs:", n_jobs or 1)
    except ValueError as error:
        parser.error(str(error))
    found = [metric for word in metrics for metric in (STANDARD if word == ALL_STANDARD else [word])]
    return [*dict.fromkeys(found)]


def check_corpus_name(name: str, what: str) -> str:
    """Returns the name under which the evaluation of a corpus stands in a run folder.

    Raises:
        StabError: it is no such name.
    """
    if not _CORPUS_NAME.fullmatch(name):
        raise StabError(
            f"{what} must be a name of at most 100 letters, digits, dots, hyphens and underscores that begins with a "
            f"letter or digit, got {name!r}"
        )
    return name


def files_corpus(place: Path, n_src: int, sample_rate: int) -> list[str]:
    """Returns the overrides that choose the corpus of a folder or table of mixtures.

    Args:
        place: the folder or table.
        n_src: sources in a mixture.
        sample_rate: in Hz.

    Raises:
        StabError: it is neither.
    """
    if not place.is_dir() and not (place.is_file() and place.suffix.lower() == ".csv"):
        raise StabError(
            f"{str(place)!r} must be a folder of mixtures or a table of them (.csv), or an override (data.KEY=VALUE)"
        )
    from asteroid_stab.run.overrides import quoted

    root, part = (place, ".") if place.is_dir() else (place.parent, place.name)
    words = ["data=mixture_files", f"data.root={quoted(str(root))}", f"data.test_path={quoted(part)}"]
    return [*words, f"data.n_src={n_src}", f"data.sample_rate={sample_rate}"]


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    made = RunLayout("RUN").evaluation("SPLIT")
    beside = RunLayout("RUN").evaluation("SPLIT", corpus="NAME")
    oracle = RunLayout("RUN").evaluation("SPLIT", oracle="NAME")
    parser = argparse.ArgumentParser(
        prog="asteroid-stab evaluate",
        description=fill(
            f"Separates the whole mixtures of a split with {RunLayout('RUN').model}, measures the estimates "
            f"and writes {made.folder}: {made.utterances.name}, {made.summary.name}, examples. With --variant the "
            "folder is SPLIT_VARIANT, and the report draws the variant beside the run itself. On another corpus it is "
            f"{beside.folder}, which the report lists. With --oracle it is {oracle.folder}, and both are in its table.",
            100,
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data=CORPUS|data.KEY=VALUE|FILES",
        help="another corpus, of the group data; changes to the data, e.g. for a corpus that was moved; folders or "
        "tables (.csv) of mixtures and their sources that others made",
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    add_metrics(parser)
    add_recognition(parser)
    parser.add_argument(
        "--name", metavar="NAME", help="of the evaluation beside the run's own (default: CORPUS, or the name of FILES)"
    )
    parser.add_argument("--out", type=path, metavar="DIR", help="folder of the evaluation (default: in the run folder)")
    add_n_jobs(parser)
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=1,
        metavar="N",
        help="mixtures of equal length that the model separates together at most, which uses a GPU better (1)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N mixtures")
    add_variant(parser)
    parser.add_argument(
        "--oracle",
        choices=tuple(ORACLES),
        help="in place of the model, a beamformer whose masks are made from the sources; of several microphones",
    )
    add_trust(parser)
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu, cuda, ... (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an evaluation of the same model")
    return parser


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Adds ``--metrics METRIC ...``."""
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help=f"some of: {', '.join(METRICS)}; or {ALL_STANDARD}: {', '.join(STANDARD)} (default: {ALL_STANDARD})",
    )


def add_n_jobs(parser: argparse.ArgumentParser) -> None:
    """Adds ``--n-jobs N``."""
    parser.add_argument(
        "--n-jobs",
        type=positive,
        metavar="N",
        help="number of measuring processes (one for each core; half as many if a model runs on the CPU)",
    )
