"""The console script ``asteroid-stab``: runs the module of the verb."""

from __future__ import annotations

import errno
import importlib
import io
import os
import select
import signal
import sys
from typing import Any

from asteroid_stab.errors import StabError, cause, nearest
from asteroid_stab.signals import EndingSignals, end_process

VERBS = (
    *("train", "evaluate", "score", "separate", "prepare", "report"),
    *("demo", "study", "compare", "switches", "weights", "average", "export", "push", "pull"),
    *("bench", "recipes", "completion"),
)


CLOSED_PIPE = 128 + 13
"""Exit status where nobody reads the output any more, as a shell gives it for SIGPIPE."""
# The machine's and the user's faults, not this program's: full and read-only disks, rights, names, limits.
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EFBIG", "EIO", "EACCES", "EPERM", "ENAMETOOLONG", "ENOTDIR", "EISDIR"),
        *("ELOOP", "EMFILE", "ENFILE", "ENOLCK", "ESTALE", "EEXIST"),
    )
}


def _usage() -> str:
    summaries = [f"  {verb:<10} {importlib.import_module(f'asteroid_stab.cli.{verb}').SUMMARY}" for verb in VERBS]
    more = "asteroid-stab VERB --help shows a verb's arguments; ASTEROID_STAB_TRACEBACK=1 shows where an error arose."
    return "\n".join(["usage: asteroid-stab VERB ...", "", "verbs:", *summaries, "", more])


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit status.

    Returns:
        0; 2 where the user's input or the machine (a full disk) ended the work; 75 where a training ended within an
        epoch; 128 + n where signal n ended the work; 141 where the output's reader has gone.
    """
    is_program = argv is None
    if is_program and "_ARGCOMPLETE" in os.environ:  # a shell asks how its line may go on
        importlib.import_module("asteroid_stab.cli.completion").answer(VERBS)
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know no letter beyond ASCII
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _main(argv, is_program)
        finally:
            sys.stdout.flush()  # or the interpreter, in its end, would find that nobody reads it
    except BrokenPipeError:
        if not any(map(_nobody_reads, (sys.stdout, sys.stderr))):
            raise  # another pipe, of ours
        _silence(sys.stdout)
        _silence(sys.stderr)
        return CLOSED_PIPE
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error) or os.environ.get("ASTEROID_STAB_TRACEBACK"):
            raise
        advice = "in training, a smaller loader.batch_size, loader.segment_s or model needs less"
        print(f"asteroid-stab: error: not enough memory ({cause(error)}); {advice}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE or os.environ.get("ASTEROID_STAB_TRACEBACK"):
            raise
        _silence(sys.stdout)
        where = f" {str(error.filename)!r}" if error.filename else ""
        print(f"asteroid-stab: error: cannot read or write{where}: {error.strerror}", file=sys.stderr)
        return 2


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was asked for that the machine does not have; torch has no type of its own for a CPU's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(text in str(error) for text in ("can't allocate memory", "std::bad_alloc", "not enough memory"))


def _nobody_reads(stream: Any) -> bool:
    """Whether a stream is a pipe whose reader has gone."""
    if not hasattr(select, "poll"):  # Windows; a stream keeps what it could not write, and fails again
        try:
            stream.flush()
        except BrokenPipeError:
            return True
        return False
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)  # errors are reported unasked
    except (OSError, ValueError):  # no file, in a test
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))  # type: ignore[attr-defined]


def _silence(stream: Any) -> None:
    """Sends to nowhere what a stream holds and cannot write, or the interpreter would fail again in its end."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _main(argv: list[str], is_program: bool) -> int:
    """Runs one verb; returns the exit status."""
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
    name = "Ctrl-C (SIGINT)" if signals.number == signal.SIGINT else signal.Signals(signals.number or 0).name
    hint = signals.hint()
    return f"asteroid-stab {verb}: ended by {name}" + (f"; {hint}" if hint else "")


if __name__ == "__main__":
    sys.exit(main())
