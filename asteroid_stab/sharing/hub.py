"""The Hugging Face hub: names of models there, folders sent and fetched, and its errors in plain words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from asteroid_stab.errors import StabError, cause
from asteroid_stab.required import needed
from asteroid_stab.run.layout import RunLayout

PREFIX = "hf://"
"""Beginning of the name of a model on the hub, where a path may stand too."""
OTHER_MODEL = "pytorch_model.bin"
"""Name of a model file that plain Asteroid's users put on the hub."""
MAX_SIZE = "2G"
"""How much of a model is fetched at most where nobody allows more."""
MAX_BYTES = 2 * 1024**3
_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


class HubName(NamedTuple):
    """A model on the hub.

    Attributes:
        repo: ``user/name``.
        revision: branch, tag or commit; None: the newest.
    """

    repo: str
    revision: str | None


def is_hub_name(text: object) -> bool:
    """Whether a word names a model on the hub."""
    return isinstance(text, str) and text.startswith(PREFIX)


def parse_name(text: str, revision: str | None = None) -> HubName:
    """Reads ``user/name``, ``hf://user/name`` or ``hf://user/name@revision``.

    Args:
        text: the name.
        revision: branch, tag or commit, where ``text`` has none.

    Raises:
        StabError: it is no such name, or has two revisions or an empty one.

    Example:
        >>> parse_name("hf://ann/two-voices@v1")
        HubName(repo='ann/two-voices', revision='v1')
    """
    repo, _, at = text.removeprefix(PREFIX).partition("@")
    if revision == "":
        raise StabError("--revision must be a branch, a tag or a commit, got ''")
    if not _NAME.fullmatch(repo) or ("@" in text and not at):
        raise StabError(f"a model on the hub is named user/name or user/name@revision, got {text!r}")
    if at and revision:
        raise StabError(f"one revision may be given, got {at!r} in the name and {revision!r}")
    return HubName(repo, at or revision)


def local_model(text: str) -> Path:
    """The folder or the file of a model on the hub, fetched, or taken from the cache where there is no network.

    Nothing in it is run; it is read as any model file of somebody else (:func:`~asteroid_stab.models.load_model`).

    Args:
        text: ``hf://user/name[@revision]``.

    Raises:
        StabError: it is no such name, the hub has no such model, more than :data:`MAX_SIZE` would have to be fetched,
            or neither hub nor cache can be reached.
    """
    own = RunLayout("")
    names = [own.model.name, own.config.name, OTHER_MODEL]
    name = parse_name(text)
    mend = f"the {shown_size(MAX_BYTES)} that {PREFIX} fetches: 'asteroid-stab pull {text.removeprefix(PREFIX)} "
    mend += "--max-size SIZE' fetches a larger one into a folder, which stands in its place"
    folder = _fetch(text, name, names, MAX_BYTES, mend)
    if RunLayout(folder).model.is_file():
        return folder
    if not (folder / OTHER_MODEL).is_file():
        raise StabError(
            f"{name.repo} on the hub has neither {own.model.name} nor {OTHER_MODEL}, or the hub cannot be reached and "
            "the cache has none of them"
        )
    return folder / OTHER_MODEL


def fetch_folder(
    name: HubName, folder: Path, names: Sequence[str], max_bytes: int, announce: Callable[[int], object]
) -> None:
    """Fetches files of a model into a folder.

    Args:
        name: the model.
        folder: where to write.
        names: the files, or patterns of them; others stay on the hub.
        max_bytes: how much is fetched at most.
        announce: called with the number of bytes before they are fetched.

    Raises:
        StabError: the hub has no such model, a larger one, or cannot be reached.
    """
    mend = f"--max-size {shown_size(max_bytes)}; a larger one fetches it"
    _fetch("pull", name, names, max_bytes, mend, announce, folder)


def _fetch(
    purpose: str,
    name: HubName,
    names: Sequence[str],
    max_bytes: int,
    mend: str,
    announce: Callable[[int], object] = lambda n_bytes: None,
    folder: Path | None = None,
) -> Path:
    """Fetches files into a folder, or into the cache, once their size is known; returns the folder.

    The cache, which is asked for a model without a folder, is taken as it is where the hub cannot be reached.
    """
    hub, errors = _library(purpose), needed("huggingface_hub.errors", purpose, "hub")
    get = partial(hub.snapshot_download, name.repo, revision=name.revision, allow_patterns=[*names])
    with hub_errors(name.repo):
        try:
            files = get(dry_run=True)
        except errors.DryRunError as error:  # it hides why the hub was of no help
            reason = error.__cause__ or error
            if folder is not None:
                raise reason from error
            try:
                return Path(get(local_files_only=True))
            except errors.LocalEntryNotFoundError:
                raise reason from error
        n_bytes = sum(one.file_size or 0 for one in files if one.will_download or folder is not None)
        if n_bytes > max_bytes:
            raise StabError(f"{name.repo} has {shown_size(n_bytes)}, more than {mend}")
        announce(n_bytes)
        return Path(get(local_dir=folder))


def shown_size(n_bytes: float) -> str:
    """Returns a number of bytes for people.

    Example:
        >>> shown_size(700), shown_size(1536), shown_size(2 * 1024**3)
        ('700 B', '1.5 KB', '2 GB')
    """
    unit = next(i for i in range(5) if n_bytes < 1024 ** (i + 1) or i == 4)
    return f"{n_bytes / 1024**unit:.3g} {('B', 'KB', 'MB', 'GB', 'TB')[unit]}"


def send_folder(name: HubName, folder: Path, private: bool, message: str) -> str:
    """Makes the repository where there is none, and sends a folder as one commit; returns the commit's address.

    Args:
        name: the model; its revision is a branch that exists.
        folder: what to send.
        private: whether a new repository is for its owner alone.
        message: of the commit.

    Raises:
        StabError: nobody is logged in, the hub refuses, or cannot be reached.
    """
    hub = _library("push")
    with hub_errors(name.repo):
        hub.create_repo(name.repo, private=private or None, exist_ok=True)
        done = hub.upload_folder(repo_id=name.repo, folder_path=folder, revision=name.revision, commit_message=message)
    return str(done.commit_url)


def _library(purpose: str) -> Any:
    """The hub's client, of the endpoint that the environment names now."""
    return needed("huggingface_hub", purpose, "hub").HfApi(endpoint=_endpoint())


def _endpoint() -> str:
    """Address of the hub."""
    own: str = needed("huggingface_hub.constants", "the hub", "hub").ENDPOINT
    return (os.environ.get("HF_ENDPOINT") or own).rstrip("/")


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Says in one line what the hub, or the way to it, refuses.

    Raises:
        StabError: the hub's library raised an error.
    """
    errors = needed("huggingface_hub.errors", repo, "hub")
    endpoint = _endpoint()
    try:
        yield
    except errors.GatedRepoError as error:
        raise StabError(f"{repo} asks its users to accept terms on its page at {endpoint}, and to log in") from error
    except errors.RepositoryNotFoundError as error:
        raise StabError(
            f"the hub at {endpoint} has no model {repo!r}, or it is private: 'hf auth login' logs in"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise StabError(f"{repo} has no such revision: {_first(error)}") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise StabError(
            f"{repo}: no way to the hub at {endpoint}, and the cache has no whole copy; with network, try again "
            "without HF_HUB_OFFLINE"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        hint = ": 'hf auth login' with a token that may write" if status in (401, 403) else ""
        raise StabError(f"the hub at {endpoint} refuses {repo}: {_first(error)}{hint}") from error
    except StabError:
        raise
    except Exception as error:  # of the library's transport, whose types change with its version
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if {"TransportError", "ConnectionError", "TimeoutException"} & kinds:
            raise StabError(f"{repo}: no way to the hub at {endpoint} ({cause(error)})") from error
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a fault of the disk
        raise StabError(f"{repo}: {cause(error)}") from error


def _first(error: BaseException) -> str:
    return cause(error).partition(": ")[2] or cause(error)
