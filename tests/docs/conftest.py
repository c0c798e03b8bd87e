"""The site, built once: its folder, its pages as trees, and how long its notebooks took."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Runs in the process of each notebook, after each cell.
CLOCK = """\
import json, os
from pathlib import Path

def keep(*_):
    seconds = sum(os.times()[:4])  # of the processor, with the children that have ended
    shown = {"first": get_ipython().history_manager.input_hist_raw[1], "seconds": seconds}
    Path(FOLDER, f"{os.getpid()}.json").write_text(json.dumps(shown))

get_ipython().events.register("post_run_cell", keep)
"""


BUILD_S = 1800  # the notebooks take two minutes of one core, which a busy machine does not have for itself


def pytest_collection_modifyitems(items):
    """The first test that asks for the site waits for it, longer than tests may take."""
    for item in items:
        if "built" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(BUILD_S))


@pytest.fixture(scope="session")
def build():
    """A function that runs Sphinx as ``make docs`` does."""

    def build(source, out, *flags, **variables):
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", *flags, source, out]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        return subprocess.run(
            [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    return build


@pytest.fixture(scope="session")
def built(build, tmp_path_factory):
    """The folder of the built site, and one with a file for each notebook: its first cell and its seconds."""
    folder = tmp_path_factory.mktemp("docs")
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (folder / "clock").mkdir()
    (startup / "clock.py").write_text(CLOCK.replace("FOLDER", repr(str(folder / "clock"))))
    done = build(ROOT / "docs", folder / "site", "-d", folder / "doctrees", IPYTHONDIR=str(folder / "ipython"))
    assert done.returncode == 0, done.stderr
    return folder / "site", folder / "clock"


@pytest.fixture(scope="session")
def site(built):
    """The folder of the built site."""
    return built[0]


@pytest.fixture(scope="session")
def notebook_seconds(built):
    """Seconds of the processor that each notebook took, by its first cell."""
    found = [json.loads(file.read_text()) for file in built[1].iterdir()]
    return {one["first"]: one["seconds"] for one in found}


@pytest.fixture(scope="session")
def pages(site):
    """Every page as a tree, by its path in the site."""
    from bs4 import BeautifulSoup

    files = sorted(site.rglob("*.html"))
    return {file.relative_to(site).as_posix(): BeautifulSoup(file.read_text("utf-8"), "html.parser") for file in files}
