"""``asteroid-stab pull NAME``: a model from the Hugging Face hub, as a folder that other verbs take."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from asteroid_stab.cli.arguments import add_trust, path, size, take_trust
from asteroid_stab.errors import StabError

SUMMARY = "fetches a model from the Hugging Face hub"


def main(argv: list[str]) -> int:
    """Fetches the model, and checks its file before the folder takes its place.

    Raises:
        StabError: the name or the folder cannot be used, the hub has no such model, a larger one than ``--max-size``,
            or cannot be reached, or what it has is no model file that may be read.
    """
    options = make_parser().parse_intermixed_args(argv)

    from asteroid_stab.atomic import working_folder
    from asteroid_stab.models.files import load_model, rate_of
    from asteroid_stab.run.layout import RunLayout
    from asteroid_stab.sharing.folder import shared_names
    from asteroid_stab.sharing.hub import OTHER_MODEL, fetch_folder, parse_name, shown_size
    from asteroid_stab.trust import trusted_names

    name = parse_name(options.name, options.revision)
    out: Path = options.out or Path(name.repo.partition("/")[2])
    if out.exists():
        raise StabError(f"{out} exists; --out DIR names another folder")
    take_trust(options.trust)
    names = [*shared_names(), OTHER_MODEL]
    with working_folder(out.parent) as place:
        folder = place / "fetched"

        def announce(n_bytes: int) -> None:
            print(f"fetches {shown_size(n_bytes)}", flush=True)

        fetch_folder(name, folder, names, options.max_size, announce)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the library's own notes
        own, other = RunLayout(folder).model, folder / OTHER_MODEL
        if other.is_file():  # the hub's name of such a file; the other verbs know a folder's model by ours
            other.unlink() if own.is_file() else other.rename(own)
        model = load_model(folder, [*trusted_names(options.config_dir)])
        rate = rate_of(model)
        shutil.move(folder, out)
    print(f"{type(model).__name__} at {rate:g} Hz; written to {out}")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    from asteroid_stab.sharing.hub import MAX_SIZE

    parser = argparse.ArgumentParser(
        prog="asteroid-stab pull",
        description="Fetches a model that was put on the Hugging Face hub by push, or by a user of Asteroid. Its file "
        "is read as data: nothing in it is run. separate takes the folder; so does evaluate, where push has put a "
        "config into it.",
    )
    parser.add_argument("name", metavar="NAME", help="user/name on the hub, or hf://user/name@revision")
    parser.add_argument("--out", type=path, metavar="DIR", help="folder to write (default: the model's name)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: the newest)")
    parser.add_argument(
        "--max-size", type=size, default=MAX_SIZE, metavar="SIZE", help=f"fetch no more than this ({MAX_SIZE})"
    )
    add_trust(parser)
    return parser
