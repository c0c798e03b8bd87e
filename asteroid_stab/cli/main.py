"""The console script ``asteroid-stab``: runs the module of the verb."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.signals import EndingSignals, end_process

VERBS = ("train", "evaluate", "separate", "prepare", "report", "compare", "switches", "bench", "recipes")


def _usage() -> str:
    summaries = [f"  {verb:<10} {importlib.import_module(f'asteroid_stab.cli.{verb}').SUMMARY}" for verb in VERBS]
    more = "asteroid-stab VERB --help shows a verb's arguments; ASTEROID_STAB_TRACEBACK=1 shows where an error arose."
    return "\n".join(["usage: asteroid-stab VERB ...", "", "verbs:", *summaries, "", more])


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit status: 0, 2 where the user's input could not be used,
    75 where a training ended within an epoch, 128 + n where signal n ended it.
    """
    is_program = argv is None
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        from asteroid_stab import __version__

        print(__version__)
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        print(f"asteroid-stab: error: no verb {verb!r}{nearest(verb, VERBS)}\n\n{_usage()}", file=sys.stderr)
        return 2
    status = 1
    with EndingSignals(word=lambda: _ended(verb, signals)) as signals:
        status = _run(verb, rest)
    if signals.number is not None:
        print(_ended(verb, signals), file=sys.stderr, flush=True)
        status = signals.status
    # Python's own end may change the status of a program that got Ctrl-C, or never come (see end_process).
    if is_program and (signals.hurry or signals.number is not None):
        end_process(status)
    return status


def _run(verb: str, rest: list[str]) -> int:
    try:
        return importlib.import_module(f"asteroid_stab.cli.{verb}").main(rest)
    except StabError as error:
        if os.environ.get("ASTEROID_STAB_TRACEBACK"):
            raise
        # An error in a loader's worker has the worker's traceback before its message.
        message = str(error).rpartition("StabError: ")[2].strip()
        print(f"asteroid-stab {verb}: error: {message}", file=sys.stderr)
        return 2


def _ended(verb: str, signals: EndingSignals) -> str:
    """Returns the line that a program leaves that a signal has ended."""
    name = "Ctrl-C (SIGINT)" if signals.number == signal.SIGINT else "SIGTERM"
    hint = signals.hint()
    return f"asteroid-stab {verb}: ended by {name}" + (f"; {hint}" if hint else "")


if __name__ == "__main__":
    sys.exit(main())
