"""The program as a study starts it for one step: it ends when the study does, even if that is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    # A study starts this file by its path, and Lightning starts it again so for other ranks: "-m" would look for the
    # package in the present folder first, which may hold another version of it.
    _folder = Path(__file__).resolve().parent
    if sys.path[:1] and Path(sys.path[0]).resolve() == _folder:  # with PYTHONSAFEPATH=1 another folder comes first
        del sys.path[0]
    if (_root := str(_folder.parents[1])) not in sys.path:
        sys.path.insert(0, _root)

from asteroid_stab.cli.main import main
from asteroid_stab.signals import send_own


def end_with_parent() -> None:
    """Waits for the end of standard input, whose other end the study holds, and asks this process to end."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    send_own(signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    sys.exit(main())
