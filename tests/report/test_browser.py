"""The page in a real browser: what it shows, plays and asks for."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

from asteroid_stab.report.page import render
from asteroid_stab.report.run_data import read_runs

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--disable-dev-shm-usage", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip

DARK, LIGHT = "--blink-settings=preferredColorScheme=0", "--blink-settings=preferredColorScheme=1"

# Runs after the page's own script; leaves what it found in an element that --dump-dom prints.
PROBE = """
<script>
addEventListener("load", async () => {
  const sounds = [...document.querySelectorAll("audio")];
  const known = (sound) => sound.readyState > 0 || new Promise((done) => {
    sound.addEventListener("loadedmetadata", done); sound.addEventListener("error", done); sound.load();
  });
  await Promise.all(sounds.map(known));
  const box = (element) => { const b = element.getBoundingClientRect(); return [b.width, b.height]; };
  const found = {
    durations: sounds.map((sound) => sound.duration),
    controls: sounds.map(box),
    pictures: [...document.querySelectorAll(".picture img")].map((image) => image.naturalWidth),
    figures: [...document.querySelectorAll(".plot .scroll svg")].map(box),
    line: getComputedStyle(document.querySelector(".plot .scroll svg .tips use")).fill,
    background: getComputedStyle(document.body).backgroundColor,
    requests: performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !/^data:/.test(n)),
    width: [document.documentElement.scrollWidth, innerWidth],
    playheads: document.querySelectorAll(".playhead").length,
  };
  // A click on the middle of the second picture of an item goes to the middle of its sound.
  const picture = document.querySelectorAll(".picture")[1];
  const area = picture.getBoundingClientRect();
  picture.dispatchEvent(new MouseEvent("click", { clientX: area.left + area.width / 2, bubbles: true }));
  found.seeked = sounds[1].currentTime / sounds[1].duration;
  const wide = [...document.querySelectorAll(".scroll:has(table)")].filter((b) => b.scrollWidth > b.clientWidth + 9);
  wide.forEach((one) => { one.scrollLeft = 1e4; });
  const seen = (part) => {
    const r = part.getBoundingClientRect();
    return r.left >= 0 && r.left < 60 && r.right <= innerWidth;
  };
  found.named = wide.map((one) => ["tbody th", "caption"].map((name) => seen(one.querySelector(name))));
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify(found);
  document.body.append(probe);
});
</script>
"""


@pytest.fixture(scope="session")
def page(whole_run):
    return render(read_runs([whole_run])).replace("</body>", PROBE + "</body>")


@pytest.fixture
def browse(tmp_path):
    """A function that opens a page in Chromium and returns what it prints and its log."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")

    def browse(page: str, *flags: str) -> tuple[str, str]:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        own = [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", *flags]
        command = [CHROMIUM, *FLAGS, *own, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout, done.stderr

    return browse


def probed(dom: str) -> dict:
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.S)
    assert found, "the page did not load to its end"
    return json.loads(html.unescape(found[1]))


def test_everything_shows_and_plays(browse, page):
    dom, log = browse(page, "--dump-dom", "--window-size=1280,1000", LIGHT)
    found = probed(dom)
    assert found["durations"] == pytest.approx([0.5] * 15)
    assert all(width > 200 and height > 30 for width, height in found["controls"])
    assert len(found["pictures"]) == 15
    assert all(width > 50 for width in found["pictures"])
    assert len(found["figures"]) == 6
    assert all(300 < width < 400 and 200 < height < 300 for width, height in found["figures"])  # three in a row
    assert found["requests"] == []
    assert found["playheads"] == 15
    assert found["seeked"] == pytest.approx(0.5, abs=0.02)
    assert (found["background"], found["line"]) == ("rgb(251, 251, 250)", "rgb(0, 114, 178)")
    console = [line for line in log.splitlines() if "CONSOLE" in line]
    assert console == []


def test_dark_and_narrow(browse, page):
    dom, _ = browse(page, "--dump-dom", "--window-size=500,1000", DARK)
    found = probed(dom)
    assert (found["background"], found["line"]) == ("rgb(20, 24, 29)", "rgb(86, 180, 233)")
    assert found["width"][0] <= found["width"][1]  # nothing to scroll sideways
    assert all(width > 400 for width, _ in found["figures"])  # one in a row
    assert found["named"]  # a table that is scrolled sideways keeps its title and its first column in sight
    assert [one for one in found["named"] if one != [True, True]] == []


def test_without_javascript_everything_shows(browse, whole_run, tmp_path):
    file = tmp_path / "page.png"
    forbidden = "<meta http-equiv='Content-Security-Policy' content=\"script-src 'none'\">"
    page = render(read_runs([whole_run])).replace("<head>", f"<head>{forbidden}")
    _, log = browse(page, f"--screenshot={file}", "--window-size=1280,2600", LIGHT)
    assert "script-src" in log  # the script was there and did not run
    picture = np.round(255 * imread(file)[..., :3])
    assert picture.shape == (2600, 1280, 3)
    lines = np.flatnonzero((np.abs(picture - [0, 114, 178]).max(axis=-1) < 8).any(axis=1))
    assert len(lines) > 200  # the curves
    assert (picture[2000:].max(axis=-1) < 30).any(axis=0).sum() > 900  # the black of spectrograms, side by side
