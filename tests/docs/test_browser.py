"""Every page of the site in a real browser, at the width of a desk and of a phone."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from chromium import CHROMIUM, browser

pytestmark = [pytest.mark.docs, pytest.mark.browser]

PHONE, DESK = 390, 1280
LEFT_OUT = ("search.html", "genindex.html", "py-modindex.html")  # made by Sphinx alone
READY = "location.href == %r && document.readyState == 'complete' && !!document.querySelector('h1')"
# Text beyond the right edge that no box around it lets the reader scroll to.
BEYOND = """(() => {
  const width = document.documentElement.clientWidth, found = [], range = document.createRange();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!text.data.trim() || !text.parentElement.checkVisibility({visibilityProperty: true})) continue;
    range.selectNodeContents(text);
    const boxes = [...range.getClientRects()].filter(box => box.width && box.left < width && box.right > width + 1);
    if (!boxes.length) continue;
    let around = text.parentElement;
    while (around && !["auto", "scroll"].includes(getComputedStyle(around).overflowX)) around = around.parentElement;
    if (!around || around === document.body || around === document.documentElement) found.push(text.data.slice(0, 60));
  }
  const wide = document.documentElement.scrollWidth;
  return wide > width ? [`the page is ${wide} wide, not ${width}`, ...found] : found;
})()"""
BROKEN = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
SOUNDS = """Promise.all([...document.querySelectorAll('audio')].map(sound => new Promise(done => {
  if (sound.readyState) return done(sound.duration);
  sound.onloadedmetadata = () => done(sound.duration);
  sound.onerror = () => done(0);
  sound.load();
})))"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with browser(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.fixture
def served():
    """A function that serves a folder on this machine and returns its address."""
    servers = []

    def serve(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()


def faults_of(tab, address, page):
    """What is wrong with a page: console, requests to elsewhere, pictures, sounds, text beyond the edge."""
    tab.requests.clear()
    tab.console.clear()
    tab.open(address + page, width=PHONE)
    tab.wait(READY % (address + page))
    found = [f"console: {words}" for words in tab.console]
    found += [f"asks {url}" for url in tab.requests if not url.startswith((address, "data:", "blob:"))]
    found += [f"no picture {url}" for url in tab.value(BROKEN)]
    found += [f"a sound of {length} s" for length in tab.value(SOUNDS) if not length]
    found += [f"at {PHONE}: {text}" for text in tab.value(BEYOND)]
    size = {"width": DESK, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", **size)
    return found + [f"at {DESK}: {text}" for text in tab.value(BEYOND)]


def test_every_page_is_sound(tab, served, site, pages):
    address = served(site)
    faults = {page: faults_of(tab, address, page) for page in pages if page not in LEFT_OUT}
    assert len(faults) > 50
    assert {page: found for page, found in faults.items() if found} == {}


def test_the_search_finds(tab, served, site):
    tab.open(f"{served(site)}search.html?q=hysteresis")
    tab.wait("document.querySelectorAll('#search-results li').length > 3")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>nothing.at.all</script>", "nothing is not defined"),
        ("<img src='gone.png'>", "no picture"),
        ("<script src='gone.js'></script>", "404"),
        ("<img src='http://127.0.0.1:9/x.png'>", "asks http://127.0.0.1:9/x.png"),
        ("<audio src='data:audio/wav;base64,AAAA'></audio>", "a sound of 0 s"),
        (f"<p>{'long' * 40}</p>", "at 390: longlong"),
        (f"<div style='overflow-x: hidden'>{'long' * 40}</div>", "at 390: longlong"),
        ("<div style='width: 400px'>x</div>", "at 390: the page is 408 wide"),
        ("<div style='width: 1300px; height: 9px'></div>", "at 1280: the page is 1308 wide"),
    ],
)  # fmt: skip
def test_faults_are_seen(tab, served, tmp_path, body, fault):
    (tmp_path / "page.html").write_text(f"<!doctype html><link rel=icon href=data:,><h1>x</h1>{body}")
    found = faults_of(tab, served(tmp_path), "page.html")
    assert [one for one in found if fault in one], found


def test_what_can_be_scrolled_to_is_no_fault(tab, served, tmp_path):
    body = f"<div style='overflow-x: auto'>{'long' * 40}</div>"
    (tmp_path / "page.html").write_text(f"<!doctype html><link rel=icon href=data:,><h1>x</h1>{body}")
    assert faults_of(tab, served(tmp_path), "page.html") == []
