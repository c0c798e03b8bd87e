"""The words of ``asteroid-stab evaluate``."""

from __future__ import annotations

import argparse

from asteroid_stab.cli.arguments import add_trust, add_variant, path, positive
from asteroid_stab.cores import check_processes
from asteroid_stab.errors import nearest
from asteroid_stab.metrics.names import METRICS
from asteroid_stab.run.layout import RunLayout


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parses the words; overrides may follow an option, ``--metrics`` too, though it takes several words."""
    parser = _parser()
    options = parser.parse_intermixed_args(argv)
    words = options.metrics or []
    options.overrides += [word for word in words if "=" in word or word.startswith("~")]
    options.metrics = [word for word in words if word not in options.overrides]
    for word in options.metrics:
        if word not in METRICS:
            known = ", ".join(METRICS)
            parser.error(f"argument --metrics: must be some of {known}, got {word!r}{nearest(word, METRICS)}")
    try:
        check_processes("argument --n-jobs:", options.n_jobs or 1)
    except ValueError as error:
        parser.error(str(error))
    return options


def _parser() -> argparse.ArgumentParser:
    made = RunLayout("RUN").evaluation("SPLIT")
    parser = argparse.ArgumentParser(
        prog="asteroid-stab evaluate",
        description=f"Separates the whole mixtures of a split with {RunLayout('RUN').model}, measures the estimates "
        f"and writes {made.folder}: {made.utterances.name}, {made.summary.name}, examples. With --variant the folder "
        "is SPLIT_VARIANT, and the report draws the variant beside the run itself.",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data.KEY=VALUE",
        help="changes to the run's data, e.g. for a corpus that was moved",
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--metrics", nargs="+", metavar="METRIC", help=f"some of: {', '.join(METRICS)} (all)")
    parser.add_argument("--out", type=path, metavar="DIR", help="folder of the evaluation (default: in the run folder)")
    parser.add_argument(
        "--n-jobs",
        type=positive,
        metavar="N",
        help="number of measuring processes (one for each core; half as many if the model runs on the CPU)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N mixtures")
    add_variant(parser)
    add_trust(parser)
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu, cuda, ... (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an evaluation of the same model")
    return parser
