"""What the page does with a recording; and the page itself in a browser."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soundfile as sf
from chromium import CHROMIUM, browser

from asteroid_stab.demo import show
from asteroid_stab.demo.page import CHANNELS, NOT_UPLOADED, Work, application
from asteroid_stab.demo.separator import Separator


@pytest.fixture
def work(model, make_run, tmp_path):
    (tmp_path / "kept").mkdir()
    work = Work([Separator(model), Separator(make_run("other", seed=1))], tmp_path / "kept")
    work.uploads = tmp_path  # where the recordings of these tests are
    return work


class Progress:
    """Stands in for Gradio's."""

    def __init__(self):
        self.seen = []

    def __call__(self, share, desc):
        self.seen.append((share, desc))


def test_a_recording_is_separated_and_the_last_one_removed(work, recording, tmp_path):
    progress = Progress()
    html, place = work.run(str(recording("a b.wav")), "mix", "", progress, 1)
    assert html.count("<audio") == 3
    assert 'src="sounds/' in html
    assert "/a%20b_est2.wav" in html
    assert progress.seen == [(1.0, "Separating with model.pth")]
    second, there = work.run(str(recording()), "mix", place, progress, 2)
    assert second.count("<audio") == 5
    assert progress.seen[1:] == [(0.5, "Separating with model.pth"), (1.0, "Separating with other")]
    assert [file.name for file in work.folder.iterdir()] == [Path(there).name]


def test_what_cannot_be_done_is_a_sentence(work, recording, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    for file, channel, sentence in (
        (None, "mix", "There is no recording yet: drop an audio file above, or record one."),
        (str(text), "mix", "text.wav cannot be separated: no readable audio: "),
        (str(text), "mix", "WAV, FLAC, OGG and MP3 files can be read."),
        (str(recording()), 1, "talk.wav cannot be separated: it has one channel, so that there is no channel 2."),
        (str(recording("s.wav", 9)), "mix", "s.wav cannot be separated: it is 0.001 s long; a recording must have"),
    ):
        html, place = work.run(file, channel, "", Progress(), 1)
        assert sentence in html
        assert place == ""
    assert not list(work.folder.iterdir())
    assert {value for _, value in CHANNELS} == {"mix", 0, 1}


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: no room"), MemoryError("no room")])
def test_what_fails_for_lack_of_memory_leaves_nothing(work, recording, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(work.separators[0], "separate", fail)
    html, place = work.run(str(recording()), "mix", "", Progress(), 1)
    assert "talk.wav cannot be separated: " in html
    assert "no room." in html
    assert place == ""
    assert not list(work.folder.iterdir())


def test_a_fault_of_this_program_leaves_nothing_either(work, recording, monkeypatch):
    monkeypatch.setattr(work.separators[0], "separate", lambda *_: {}["x"])
    with pytest.raises(KeyError):
        work.run(str(recording()), "mix", "", Progress(), 1)
    assert not list(work.folder.iterdir())


def test_a_file_of_this_machine_that_nobody_uploaded_is_not_separated(work, recording, tmp_path):
    own = recording()
    work.uploads = tmp_path / "uploads"
    work.uploads.mkdir()
    (work.uploads / "link.wav").symlink_to(own)
    for file in (own, work.uploads / ".." / own.name, work.uploads / "link.wav", "http://127.0.0.1:9/a.wav"):
        assert work.run(str(file), "mix", "", Progress(), 1) == (show.problem(NOT_UPLOADED), "")
    (work.uploads / "a.wav").write_bytes(own.read_bytes())
    assert "<audio" in work.run(str(work.uploads / "a.wav"), "mix", "", Progress(), 1)[0]


@pytest.mark.slow
def test_a_page_cannot_name_a_file_of_this_machine(work, recording, tmp_path, monkeypatch):
    for module in ("gradio", "httpx"):
        pytest.importorskip(module)
    from fastapi.testclient import TestClient

    monkeypatch.setenv("GRADIO_TEMP_DIR", "set by the page")  # and taken back after the test
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    own, work.uploads = recording(), tmp_path / "kept" / "uploads"
    (tmp_path / "a.svg").write_text("<svg/>")

    with TestClient(application(work, [], 3 * 2**20)) as client:

        def answer(path, **more):
            file = {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}
            body = {"data": [file, "mix", None], "fn_index": 0, "session_hash": "a"}
            assert client.post("/gradio_api/queue/join", json=body).status_code == 200
            text = client.get("/gradio_api/queue/data", params={"session_hash": "a"}).text
            return next(line for line in text.splitlines() if "process_completed" in line)

        for path, more in (
            (own, {}),
            (own, {"is_stream": True}),
            (own, {"url": "http://127.0.0.1:9/a.wav"}),
            ("http://127.0.0.1:9/a.wav", {}),
            (tmp_path / "a.svg", {"is_stream": True}),
        ):
            assert "uploaded" in answer(path, **more)
        assert not list(work.folder.iterdir())
        assert client.get(f"/gradio_api/file={tmp_path / 'a.svg'}").status_code == 403
        with open(own, "rb") as file:
            (uploaded,) = client.post("/gradio_api/upload", files={"files": ("b.wav", file)}).json()
        assert "<audio" in answer(uploaded)
        large = client.post("/gradio_api/upload", files={"files": ("c.wav", bytes(3 * 2**20 + 1))})
        assert large.status_code == 413
        assert not list(work.uploads.rglob("c.wav"))


def test_an_error_of_the_disk_is_a_sentence(work, recording, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work.separators[0], "separate", fail)
    html, _ = work.run(str(recording()), "mix", "", Progress(), 1)
    assert "talk.wav cannot be separated: OSError: [Errno 28] No space left on device." in html
    assert not list(work.folder.iterdir())


def test_a_separation_ends_with_the_program(work, recording):
    going, may_go_on = threading.Event(), threading.Event()
    found = []

    def progress(share, desc):
        going.set()
        may_go_on.wait(20)

    args = (str(recording()), "mix", "", progress, 2)
    thread = threading.Thread(target=lambda: found.append(work.run(*args)))
    thread.start()
    assert going.wait(20)
    threading.Timer(0.1, may_go_on.set).start()
    work.end()  # waits for it
    thread.join(20)
    assert "The program has ended." in found[0][0]


# --- the program, in a browser ---

PLAYERS = "[...document.querySelectorAll('.sound audio')].filter(a => a.offsetParent)"
KNOWN = f"{PLAYERS}.length == %d && {PLAYERS}.every(a => a.readyState > 0)"
MIDDLE = """(() => {
  const picture = document.querySelectorAll(".picture")[1], box = picture.getBoundingClientRect();
  picture.dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width / 2, bubbles: true }));
})()"""
TAB = "[...document.querySelectorAll('[role=tab]')].find(t => t.textContent.trim() == 'Compare both')"
SEEN = "[...document.querySelectorAll('button')].filter(b => b.checkVisibility({visibilityProperty: true}))"
BUTTON = SEEN + ".find(b => b.textContent.trim() == '%s')"


@pytest.fixture
def program(tmp_path):
    """Starts the demo; gives the process, its address and the folder of its temporary files."""
    pytest.importorskip("gradio")
    started = []

    def start(*words):
        place = tmp_path / "temporary"
        place.mkdir()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(place), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "asteroid_stab.cli.main", "demo", *map(str, words), "--port", "0"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes)
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.communicate()
        return process, line.split()[0], place

    yield start
    for process in started:
        process.kill()
        process.wait()


def click(tab, word):
    tab.wait(f"!!{BUTTON % word}")
    tab.value(f"{BUTTON % word}.click()")


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_in_a_browser(program, make_run, shared_data, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    speech = next((shared_data / "LibriSpeech").rglob("*.flac"))
    length_s = sf.info(speech).duration
    (tmp_path / "text.wav").write_text("no sound")
    runs = [make_run("study/pit/1"), make_run("study/dsd/1", seed=1)]
    process, address, place = program(*runs, "--window-s", "2", "--overlap-s", "0.5")
    with browser(tmp_path / "profile", "--blink-settings=preferredColorScheme=1") as tab:
        tab.open(address)
        tab.wait("!!document.querySelector('input[type=file]') && !!document.querySelector('.plot svg')")
        assert tab.value("document.querySelector('h1').textContent") == "pit/1 and dsd/1"
        click(tab, "Separate")
        tab.wait("document.querySelector('.stab .note')?.textContent.includes('There is no recording yet')")

        tab.choose("input[type=file]", speech)  # what a drop does, too
        tab.wait("!document.querySelector('input[type=file]')")
        click(tab, "Separate")
        tab.wait(KNOWN % 3)
        assert tab.value(f"{PLAYERS}.map(a => a.duration)") == pytest.approx([length_s] * 3, abs=0.01)
        assert tab.value("[...document.querySelectorAll('.picture img')].every(i => i.naturalWidth > 50)")
        tab.value(MIDDLE)  # the script of the players works
        assert tab.value(f"{PLAYERS}[1].currentTime / {PLAYERS}[1].duration") == pytest.approx(0.5, abs=0.2)

        tab.value(f"{TAB}.click()")
        tab.wait(f"{PLAYERS}.length == 0")  # the other tab is there
        click(tab, "Separate")
        tab.wait(KNOWN % 5)
        assert tab.value(f"{PLAYERS}.map(a => a.duration)") == pytest.approx([length_s] * 5, abs=0.01)
        labels = tab.value(f"{PLAYERS}.map(a => a.ariaLabel)")
        assert labels[1:3] == ["Speaker 1 · pit/1", "Speaker 1 · dsd/1"]
        tab.open(address, width=420)
        tab.wait("!!document.querySelector('.plot svg') && !!document.querySelector('input[type=file]')")
        assert tab.value("document.documentElement.scrollWidth") <= 420

        tab.choose("input[type=file]", tmp_path / "text.wav")
        click(tab, "Separate")
        tab.wait("document.querySelector('.stab .note')?.textContent.includes('no readable audio')")
        own = (address, "data:", "blob:", "about:")
        assert [url for url in tab.requests if not url.startswith(own)] == []
        assert [line for line in tab.console if "Content Security Policy" in line] == []
        assert list(place.iterdir())
        process.send_signal(signal.SIGINT)  # while the page is open
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "asteroid-stab demo: ended by Ctrl-C (SIGINT)"
    assert "Traceback" not in errors
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_a_model_file_is_served_until_sigterm(program, model):
    process, address, place = program(model)
    assert address
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors == "asteroid-stab demo: ended by SIGTERM\n"
    assert list(place.iterdir()) == []
