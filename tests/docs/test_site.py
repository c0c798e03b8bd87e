"""The site: built as ``make docs`` builds it, read through, and opened in a browser."""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

pytestmark = pytest.mark.docs

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--disable-dev-shm-usage", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
]  # fmt: skip
ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|obj|math|ref|doc|exc):")


def build(source, out, *flags):
    """Runs Sphinx as ``make docs`` does."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", *flags, source, out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("docs")
    done = build(ROOT / "docs", folder / "site", "-d", folder / "doctrees")
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def pages(site):
    """Every page as a tree, by its path in the site."""
    from bs4 import BeautifulSoup

    files = sorted(site.rglob("*.html"))
    return {file.relative_to(site).as_posix(): BeautifulSoup(file.read_text("utf-8"), "html.parser") for file in files}


def test_the_pages_are_there(pages):
    cards = {f"recipes/{card.parent.name}.html" for card in ROOT.glob("recipes/*/README.md")}
    guides = {f"{page.stem}.html" for page in ROOT.glob("docs/*.md")}
    notebooks = {f"tutorials/{notebook.stem}.html" for notebook in ROOT.glob("docs/tutorials/*.ipynb")}
    assert len(cards) > 10
    assert cards | guides | notebooks <= pages.keys()
    assert {"reference/config.html", "reference/toolkits.html", "reference/api/losses.html"} <= pages.keys()


def test_every_link_goes_somewhere(site, pages):
    ids = {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in pages.items()}
    broken = []
    for name, page in pages.items():
        for tag, attribute in [(t, a) for a in ("href", "src") for t in page.find_all(**{a: True})]:
            url = urlsplit(tag[attribute])
            if url.scheme in ("http", "https", "mailto"):
                assert tag.name == "a", f"{name} loads {tag[attribute]}"
                continue
            if url.scheme == "data":
                continue
            file = (site / name).parent / unquote(url.path) if url.path else site / name
            target = Path(os.path.normpath(file))
            if not target.is_file():
                broken.append(f"{name}: {tag[attribute]}")
            elif url.fragment and target.suffix == ".html" and tag.name == "a":
                where = target.relative_to(site).as_posix()
                if unquote(url.fragment) not in ids[where] | {""}:
                    broken.append(f"{name}: {tag[attribute]}")
    assert broken == []


def test_no_role_is_left_as_text(pages):
    assert [
        (name, ROLE.search(page.get_text())[0]) for name, page in pages.items() if ROLE.search(page.get_text())
    ] == []


def test_every_formula_is_drawn(pages):
    assert len(pages["mathematics.html"].find_all("math")) > 10
    assert pages["reference/api/losses.html"].find_all("math")
    assert not [name for name, page in pages.items() if page.find_all(class_="MathJax") or "\\frac" in page.get_text()]


def public_names():
    """Full names of the public classes and functions of every public module, and of what rooms offer."""
    from docs.references import PACKAGE, canonical, exported, rooms
    from docs.sources import modules

    for room in ["", *rooms()]:
        for name in exported(room) if room else ():
            found = getattr(importlib.import_module(f"{PACKAGE}.{room}"), name)
            yield room or "top", canonical(found, f"{PACKAGE}.{room}.{name}")
        for module in modules(room):
            if room == "integrations":
                continue  # needs the toolkits
            loaded = importlib.import_module(f"{PACKAGE}.{module}")
            for name, found in vars(loaded).items():
                own = getattr(found, "__module__", None) == loaded.__name__ and not name.startswith("_")
                if own and (inspect.isclass(found) or inspect.isfunction(found)):
                    yield room or "top", f"{loaded.__name__}.{found.__qualname__}"


def test_every_public_name_is_in_the_reference(pages):
    anchors = {tag["id"] for name, page in pages.items() if "/api/" in name for tag in page.find_all(id=True)}
    names = {name for _, name in public_names()}
    assert len(names) > 300
    assert sorted(names - anchors) == []


def leaves(node, before=""):
    for key, value in node.items():
        if key not in ("defaults", "_target_", "_partial_"):
            if isinstance(value, dict) and value:
                yield from leaves(value, f"{before}{key}.")
            elif value != {}:
                yield f"{before}{key}"


def test_every_config_key_is_explained(pages):
    rows = [row.find_all("td") for row in pages["reference/config.html"].find_all("tr")]
    meanings = {row[0].get_text().strip(): row[2].get_text().strip() for row in rows if row}
    missing = []
    for file in sorted(ROOT.glob("conf/*/*.yaml")):
        for key in leaves(yaml.safe_load(file.read_text()) or {}, f"{file.parent.name}."):
            held = [row for row in meanings if key == row or key.startswith(f"{row}.")]
            if not held or not meanings[held[0]]:
                missing.append(f"{file.parent.name}/{file.name}: {key}")
    of_run = leaves(yaml.safe_load((ROOT / "conf" / "train.yaml").read_text()))
    missing += [f"train.yaml: {key}" for key in of_run if not meanings.get(key)]
    assert missing == []


def test_every_recipe_is_on_the_page_of_its_card(pages):
    for file in ROOT.glob("recipes/*/*.yaml"):
        text = pages[f"recipes/{file.parent.name}.html"].get_text()
        assert file.read_text(encoding="utf-8").splitlines()[1] in text, file


def test_the_tutorial_shows_what_it_computed(site, pages):
    page = pages["tutorials/label_switching.html"]
    assert "plain PIT ['" in page.get_text()
    assert page.find("img", src=re.compile(r"\.png$"))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("# A\n\n[x](nowhere.md)\n", "nowhere.md"),
        ("# A\n\n{py:class}`asteroid_stab.losses.NoSuchLoss`\n", "NoSuchLoss"),
    ],
    ids=["link", "name"],
)
def test_a_broken_reference_ends_the_build(tmp_path, page, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "index.md").write_text(page)
    lines = ["import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
    lines += ["extensions = ['sphinx.ext.autodoc', 'myst_nb', 'docs.references']", "nitpicky = True"]
    (tmp_path / "in" / "conf.py").write_text("\n".join(lines))
    done = build(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr


# --- in a browser ---

PROBE = """<!doctype html><title>probe</title><pre id="probe"></pre><script>
addEventListener("load", async () => {
  const open = (url) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.width = 1200; frame.height = 800;
    frame.onload = () => done(frame);
    frame.src = url; document.body.append(frame);
  });
  const found = {};
  for (const url of PAGES) {
    const frame = await open(url), page = frame.contentDocument;
    found[url] = {
      heading: page.querySelector("h1")?.textContent ?? "",
      broken: [...page.images].filter((image) => image.complete && !image.naturalWidth).map((image) => image.src),
      far: frame.contentWindow.performance.getEntriesByType("resource").map((r) => r.name)
        .filter((name) => !name.startsWith(location.origin) && !name.startsWith("data:")),
      wide: page.documentElement.scrollWidth > 1200,
    };
    frame.remove();
  }
  document.getElementById("probe").textContent = JSON.stringify(found);
});
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site and keeps what was not found."""

    missed: list[str]

    def log_message(self, *args):
        pass

    def send_error(self, code, *args, **kwargs):
        self.missed.append(f"{code} {self.path}")
        super().send_error(code, *args, **kwargs)


@pytest.fixture(scope="session")
def opened(site, pages, tmp_path_factory):
    """What every page is in Chromium, hits of a search, the browser's log, and what the server had no file for."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("browser")
    urls = [f"/{name}" for name in pages if name not in ("search.html", "genindex.html", "py-modindex.html")]
    (site / "probe.html").write_text(PROBE.replace("PAGES", json.dumps(urls)))
    handler = type("Handler", (Quiet,), {"missed": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        own = [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=600000", "--dump-dom"]
        address = f"http://127.0.0.1:{server.server_port}"

        def browse(page):
            command = [CHROMIUM, *FLAGS, *own, f"{address}/{page}"]
            return subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)

        done, search = browse("probe.html"), browse("search.html?q=hysteresis")
    finally:
        server.shutdown()
        (site / "probe.html").unlink()
    probe = re.search(r'<pre id="probe">(.+?)</pre>', done.stdout, re.S)
    assert probe, "the pages did not load to their end"
    found = json.loads(html.unescape(probe[1]))
    assert set(urls) == set(found)
    hits = re.findall(r'<li class="kind-', search.stdout)
    return found, hits, done.stderr + search.stderr, [miss for miss in handler.missed if "favicon" not in miss]


@pytest.mark.browser
def test_every_page_opens_in_a_browser(opened):
    found, hits, log, missed = opened
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []
    assert missed == []
    for url, page in found.items():
        assert page["heading"], url
        assert (page["broken"], page["far"]) == ([], []), url
        assert not page["wide"], f"{url} has to be scrolled sideways"
    assert len(hits) > 3, "the search finds nothing"
