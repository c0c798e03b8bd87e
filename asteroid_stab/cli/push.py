"""``asteroid-stab push RUN NAME``: a trained model with its card, on the Hugging Face hub or in a folder."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from asteroid_stab.cli.arguments import add_trust, path, take_trust
from asteroid_stab.errors import StabError, nearest, some

SUMMARY = "puts a trained model with a card on the Hugging Face hub"
LICENCES = (
    *("apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "openrail", "cc0-1.0", "cc-by-4.0"),
    *("cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "unlicense", "other"),
)


def main(argv: list[str]) -> int:
    """Writes the folder, and sends it unless it is a dry run.

    Raises:
        StabError: the run or an option cannot be used, the folder is not empty, a package is missing, or the hub
            refuses or cannot be reached.
    """
    options = make_parser().parse_intermixed_args(argv)

    from asteroid_stab.atomic import working_folder
    from asteroid_stab.run.folder import RunFolder
    from asteroid_stab.sharing.folder import write_folder
    from asteroid_stab.sharing.hub import parse_name, send_folder
    from asteroid_stab.trust import trusted_names, trusting

    if options.licence is not None and options.licence not in LICENCES:
        hint = nearest(options.licence, LICENCES)
        raise StabError(f"--license must be one of {', '.join(LICENCES)}, got {options.licence!r}{hint}")
    if options.dry_run and options.out is None:
        raise StabError("--dry-run writes the folder and sends nothing: --out DIR names the folder")
    name = parse_name(options.name)
    take_trust(options.trust)
    run = RunFolder(options.run, options.config_dir)
    if options.out is not None and options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise StabError(f"--out must be a new or an empty folder, got {str(options.out)!r}")
    with working_folder(options.out.parent if options.out is not None else Path(tempfile.gettempdir())) as place:
        folder = place / "shared"
        folder.mkdir()
        with trusting(trusted_names(options.config_dir)):
            emptied = write_folder(run, folder, name.repo, options.split, options.licence, options.sounds)
        if emptied:
            print(f"note: paths of this machine and secrets are left out of the config: {some(emptied)}")
        if options.licence is None:
            print("note: the card says that no licence was given; --license NAME gives one")
        address = None
        if not options.dry_run:
            address = send_folder(name, folder, options.private, "Model and card, by asteroid-stab push")
        if options.out is not None:
            if options.out.exists():
                options.out.rmdir()
            shutil.move(folder, options.out)
    print(f"written to {options.out}; nothing was sent" if options.dry_run else f"sent to {address}")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab push",
        description="Sends the best model of a run to the Hugging Face hub: Asteroid's model file, its weights as "
        "safetensors, the config without paths of this machine, the metrics, and a card. 'hf auth login' logs in.",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument("name", metavar="NAME", help="user/name on the hub")
    parser.add_argument("--private", action="store_true", help="make a new repository for its owner alone")
    parser.add_argument("--license", dest="licence", metavar="NAME", help="licence of the weights, such as cc-by-4.0")
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"), help="evaluation to show")
    parser.add_argument(
        "--sounds",
        action="store_true",
        help="add the mixture of median quality, which the evaluation kept, and estimates",
    )
    parser.add_argument("--dry-run", action="store_true", help="write the folder to --out and send nothing")
    parser.add_argument("--out", type=path, metavar="DIR", help="keep the folder there")
    add_trust(parser)
    return parser
