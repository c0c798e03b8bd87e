"""``asteroid-stab export MODEL --to torch|onnx``: a trained model as a program that needs no package of ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from asteroid_stab.cli.arguments import add_trust, add_variant, path, take_trust
from asteroid_stab.errors import StabError

SUMMARY = "exports a trained model for torch.export or ONNX Runtime"
KINDS = ("torch", "onnx")


def main(argv: list[str]) -> int:
    """Exports the model and prints how far the program is from it.

    Raises:
        StabError: the model or an option cannot be used, the file exists, a package is missing, the model cannot be
            exported, or the program differs from it.
    """
    options = make_parser().parse_intermixed_args(argv)

    from asteroid_stab.atomic import making
    from asteroid_stab.run.layout import RunLayout
    from asteroid_stab.run.variants import find_variant
    from asteroid_stab.sharing.export import SUFFIXES, check_packages, export_model
    from asteroid_stab.trust import trusted_names, trusting

    check_packages(options.to)
    take_trust(options.trust)
    variant = find_variant(options.model, options.variant)
    suffix = SUFFIXES[options.to]
    layout = RunLayout(options.model)
    beside = variant.file.with_suffix("").with_name("_".join([variant.file.stem, *variant.model_words]) + suffix)
    file: Path = options.out or (layout.program(suffix, variant.name) if options.model.is_dir() else beside)
    if file.suffix != suffix:
        raise StabError(f"--out must end in {suffix} for --to {options.to}, got {str(file)!r}")
    if file.exists() and not options.overwrite:
        raise StabError(f"{file} exists; --overwrite replaces it")
    with trusting(trusted_names(options.config_dir)):
        model = variant.load()
    with making(file, "wait for its end; --out FILE writes elsewhere"):
        done = export_model(model, file, options.to, _facts(options.model, variant.name), options.seconds)
    for (n_items, n_samples), difference in done.differences.items():
        print(f"[{n_items}, {n_samples}]: greatest difference {difference:.1e} of the loudest sample")
    print(f"written to {file}; input {done.sizes.rule}")
    return 0


def _facts(model: Path, variant: str) -> dict[str, Any]:
    """The program's origin: version of this package, recipe, variant."""
    from asteroid_stab import __version__
    from asteroid_stab.run.layout import RunLayout
    from asteroid_stab.run.stored import read_config

    config = RunLayout(model).config
    recipe = read_config(config).get("recipe") if model.is_dir() and config.is_file() else None
    return {"asteroid_stab": __version__, "recipe": str(recipe or ""), "variant": variant}


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab export",
        description="Writes a trained model as a program of torch.export (.pt2), which needs torch alone, or of ONNX, "
        "which needs ONNX Runtime alone. The program is run beside the model at three sizes before its file is moved "
        "to its place. Batch and length are open, from 0.1 s on; a model that cannot be followed at any length is "
        "exported for one mixture of one length, and a note says why.",
    )
    parser.add_argument("model", type=path, metavar="MODEL", help="run folder or model file (.pth)")
    parser.add_argument("--to", choices=KINDS, required=True, help="kind of the program")
    parser.add_argument(
        "--out", type=path, metavar="FILE", help="file to write (default: in the run folder, or beside the model file)"
    )
    parser.add_argument("--seconds", type=_seconds, metavar="S", help="take one mixture of exactly this length")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_variant(parser)
    add_trust(parser)
    return parser


def _seconds(text: str) -> float:
    """Parses a length in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 to 3600, got {text!r}")
    return seconds
