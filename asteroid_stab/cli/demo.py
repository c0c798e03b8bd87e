"""``asteroid-stab demo RUN [RUN2]``: a page on which one hears what a trained model makes of a recording."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from asteroid_stab.cli.arguments import add_trust, path, size, take_trust
from asteroid_stab.errors import StabError

SUMMARY = "opens a page on which one or two trained models separate a recording"


def main(argv: list[str]) -> int:
    """Serves the page until Ctrl-C.

    Raises:
        StabError: Gradio is not installed, a model cannot be used, or the address is not free.
    """
    options = make_parser().parse_args(argv)
    if missing := [name for name in ("gradio", "fastapi", "uvicorn") if find_spec(name) is None]:
        raise StabError(
            f"the page is served by Gradio, and {missing[0]} is not installed: pip install 'asteroid-stab[demo]'"
        )

    from asteroid_stab.atomic import working_folder
    from asteroid_stab.demo.page import Work, application
    from asteroid_stab.demo.separator import Separator
    from asteroid_stab.demo.server import address_of, listen, serve, with_policy
    from asteroid_stab.demo.show import names
    from asteroid_stab.report.run_data import distinct_names, read_runs
    from asteroid_stab.run.layout import RunLayout

    take_trust(options.trust)
    sources: list[Path] = [options.model, *([options.other] if options.other else [])]
    distinct_names(sources)
    windows = (options.window_s, options.overlap_s)
    separators = [Separator(source, options.device, *windows, options.config_dir) for source in sources]
    folders = [source for source in sources if RunLayout(source).config.is_file()]
    named = dict(zip(sources, names(separators), strict=True))
    runs = [replace(run, name=named[run.path]) for run in read_runs(folders)]
    listener = listen(options.host, options.port)
    with listener, working_folder(tempfile.gettempdir()) as folder:
        work = Work(separators, folder)
        app = with_policy(application(work, runs, options.max_size))
        serve(app, listener, lambda: print(f"{address_of(listener)} (Ctrl-C ends it)", flush=True), work.end)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab demo",
        description="Serves a page on this machine: drop or record a file of any length, hear each speaker and see the "
        "spectrograms; of a run folder it also shows the main figures and the label switches. With a second "
        "model a second tab separates the same file with both. Nothing is loaded from or sent to elsewhere.",
    )
    parser.add_argument("model", type=path, metavar="RUN", help="run folder or model file (.pth)")
    parser.add_argument("other", type=path, metavar="RUN2", nargs="?", help="another one, to compare with")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine only)")
    parser.add_argument(
        "--port", type=_port, metavar="N", help="port to listen on; 0 takes a free one (7860, or a free one)"
    )
    parser.add_argument("--window-s", type=float, default=10.0, help="length of a window in seconds (%(default)s)")
    parser.add_argument("--overlap-s", type=float, default=2.5, help="overlap of two windows in seconds (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (%(default)s)")
    parser.add_argument(
        "--max-size", type=size, default="1G", metavar="SIZE", help="take no larger file, such as 500M (%(default)s)"
    )
    add_trust(parser)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return int(text)
