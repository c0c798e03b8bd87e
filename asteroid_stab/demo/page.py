"""The page of the demo: drop or record a file, hear the speakers, compare two models."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from asteroid_stab.demo import show
from asteroid_stab.demo.separator import TRAINED, Separation, Separator, aligned
from asteroid_stab.errors import StabError, cause
from asteroid_stab.report.run_data import Run

CHANNELS: tuple[tuple[str, str | int], ...] = (("the mean of all", "mix"), ("the first", 0), ("the second", 1))
_SOUNDS, _UPLOADS = "sounds", "uploads"
_KEPT_S = 3600  # an upload may be separated again for this long
NOT_UPLOADED = "This recording was not uploaded: drop an audio file above, or record one."
_FORMATS = "WAV, FLAC, OGG and MP3 files can be read"


def channels(separators: Sequence[Separator]) -> list[tuple[str, str | int]]:
    """The choices for files of several channels, by their words; first the training's, where a model knows it."""
    own = [("the one of the model's training", TRAINED)] if any(one.heard for one in separators) else []
    return [*own, *CHANNELS]


class Ended(Exception):
    """The program is about to end, and with it a separation that still runs."""


class Work:
    """Separates recordings for a page, one at a time, into folders that are removed when the next one is there.

    Args:
        separators: the models.
        folder: where the files are kept.

    Attributes:
        uploads: folder of the recordings that may be separated.
    """

    def __init__(self, separators: Sequence[Separator], folder: Path):
        self.separators, self.names = separators, show.names(separators)
        self.folder, self.uploads = folder / _SOUNDS, folder / _UPLOADS
        self.folder.mkdir()
        self._ended, self._busy = threading.Event(), threading.Lock()

    def run(
        self, recording: str | None, channel: int | str, old: str, advance: Any, n_models: int
    ) -> tuple[Markup, str]:
        """Separates a recording with the first models.

        Args:
            recording: path of the recording; None if there is none yet.
            channel: the channel to take, from 0, or a word of :func:`channels`.
            old: folder of the last recording, which is removed; empty if there is none.
            advance: called with the share that is done and with a word.
            n_models: number of the models.

        Returns:
            The HTML of the players, or of the reason why there are none, and the folder.
        """
        remove(old)
        if recording is None:
            return show.problem("There is no recording yet: drop an audio file above, or record one."), ""
        if not self.has_uploaded(recording):
            return show.problem(NOT_UPLOADED), ""
        file, begin = Path(recording), time.perf_counter()
        place = Path(mkdtemp(dir=self.folder))
        try:
            found: list[Separation] = []
            with self._busy:
                for number, (name, separator) in enumerate(zip(self.names, self.separators[:n_models], strict=False)):

                    def count(share: float, number: int = number, name: str = name) -> None:
                        if self._ended.is_set():
                            raise Ended
                        advance((number + share) / n_models, desc=f"Separating with {name}")

                    own = place / str(number + 1)
                    own.mkdir()
                    made = separator.separate(file, channel, own, count)
                    found.append(aligned(found[0], made) if found else made)
            took_s = time.perf_counter() - begin
            return show.separated(file.name, self.names[:n_models], found, took_s, self.address), str(place)
        except (StabError, OSError, MemoryError, RuntimeError) as error:  # torch's own error for lack of memory, too
            remove(str(place))
            reason = str(error) if isinstance(error, StabError) else cause(error)
            more = f". {_FORMATS}" if reason.startswith("no readable audio") else ""
            return show.problem(f"{file.name} cannot be separated: {reason.rstrip('.')}{more}."), ""
        except Ended:
            return show.problem("The program has ended."), ""
        except BaseException:
            remove(str(place))
            raise

    def has_uploaded(self, file: str) -> bool:
        """Whether a file was uploaded: a page sends a path, which may name any file of this machine."""
        return Path(file).resolve().is_relative_to(self.uploads.resolve())

    def address(self, file: Path) -> str:
        """Where the page finds a file of the folder."""
        return f"{_SOUNDS}/{quote(file.relative_to(self.folder).as_posix())}"

    def end(self) -> None:
        """Lets a separation that runs come to its end, which it does after the window it is at."""
        self._ended.set()
        if self._busy.acquire(timeout=10.0):
            self._busy.release()


def remove(folder: str) -> None:
    """Removes the files of a recording."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def application(work: Work, runs: Sequence[Run], max_bytes: int) -> Any:
    """The web application of the page.

    Args:
        work: separates.
        runs: the run folders among the models.
        max_bytes: size of an upload at most.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(work.uploads)  # is read when Gradio is imported, too
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in [name for name in os.environ if name.startswith("OTEL_")]:  # FastAPI would report each request there
        del os.environ[name]
    import gradio
    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles

    title = f"{' and '.join(work.names)} · asteroid-stab demo"
    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(600, _KEPT_S)) as page:
        gradio.HTML(show.heading(work.separators), padding=False, apply_default_css=False)
        with gradio.Row():
            recording = gradio.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label="Recording",
                editable=False,
                buttons=["download"],
                scale=3,
                min_width=280,
            )
            known = channels(work.separators)
            channel = gradio.Radio(
                known, value=known[0][1], label="Of a file of several channels, take", scale=1, min_width=220
            )
        _take_uploads_only(gradio, work, recording)
        if len(work.separators) == 1:
            _separating(gradio, work, recording, channel, 1)
        else:
            with gradio.Tab(f"Separate with {work.names[0]}"):
                _separating(gradio, work, recording, channel, 1)
            with gradio.Tab("Compare both"):
                _separating(gradio, work, recording, channel, 2)
        gradio.HTML(show.about(runs), apply_default_css=False)
    # Gradio checks which files a page names only in pages that its own launch() serves.
    page.has_launched = page.is_running = True
    app = FastAPI(openapi_url=None)
    app.mount(f"/{_SOUNDS}", StaticFiles(directory=work.folder))
    font = ("system-ui", "Segoe UI", "Roboto", "Arial", "sans-serif")
    theme = gradio.themes.Base(primary_hue="blue", font=font, font_mono=("ui-monospace", "monospace"))
    return gradio.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        max_file_size=max_bytes,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme,
        head=f"<style>{show.style()}</style><script>{show.script()}</script>",
    )


def _take_uploads_only(gradio: Any, work: Work, recording: Any) -> None:
    """Lets Gradio copy uploads only: it would fetch a recording that a page names by an address of the net."""
    copy = recording.async_move_resource_to_block_cache

    async def copy_upload(file: Any) -> Any:
        if not work.has_uploaded(str(file)):
            raise gradio.Error(NOT_UPLOADED)
        return await copy(file)

    recording.async_move_resource_to_block_cache = copy_upload


def _separating(gradio: Any, work: Work, recording: Any, channel: Any, n_models: int) -> None:
    """Adds the button and the players of one tab."""
    button = gradio.Button("Separate", variant="primary")
    old = gradio.State("", delete_callback=remove)
    players = gradio.HTML(show.empty(), min_height=70, apply_default_css=False)

    def separate(file: str | None, chosen: Any, folder: str, progress: Any = gradio.Progress()) -> tuple[str, str]:  # noqa: B008
        html, new = work.run(file, chosen, folder, progress, n_models)
        return str(html), new

    button.click(separate, [recording, channel, old], [players, old], show_progress="full", api_visibility="private")
