"""The version, in each place where the package may stand."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import asteroid_stab
from asteroid_stab import version as module
from asteroid_stab.version import UNKNOWN, version

ROOT = Path(__file__).resolve().parents[1]
ENV = {
    **os.environ,
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, env=ENV, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder, text):
    (folder / "file.txt").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", text)
    return git(folder, "rev-parse", "--short=9", "HEAD")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with this project's settings and one commit."""
    pytest.importorskip("setuptools_scm")
    if shutil.which("git") is None:
        pytest.skip("there is no git here")
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("pyproject.toml", ".git_archival.txt", ".gitattributes"):
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


def now(folder):
    """The version of a folder, without what was found before."""
    version.cache_clear()
    return version(folder)


@pytest.fixture(autouse=True)
def _cache():
    yield
    version.cache_clear()


def test_checkout_without_tags_counts_from_nothing(checkout):
    node = commit(checkout, "second")
    git(checkout, "tag", "before-cluster-2")  # no version's
    assert now(checkout) == f"0.1.dev2+g{node}"


def test_tagged_commit_is_the_release(checkout):
    git(checkout, "tag", "v1.2.3")
    assert now(checkout) == "1.2.3"
    node = commit(checkout, "more")
    assert now(checkout) == f"1.2.4.dev1+g{node}"
    (checkout / "file.txt").write_text("changed")
    assert now(checkout).startswith(f"1.2.4.dev1+g{node}.d20")


def test_copy_in_a_checkout_of_something_else_has_not_its_version(checkout):
    git(checkout, "tag", "v1.2.3")
    settings = (checkout / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text(settings.replace('name = "asteroid-stab"', 'name = "other"'))
    assert now(checkout) == UNKNOWN
    (checkout / "pyproject.toml").write_text("no toml")
    assert now(checkout) == UNKNOWN


def test_shallow_clone_names_its_commit(checkout, tmp_path, recwarn):
    git(checkout, "tag", "v1.2.3")
    node = commit(checkout, "more")
    git(tmp_path, "clone", "-q", "--depth", "1", checkout.as_uri(), "shallow")
    assert now(tmp_path / "shallow") == f"0.1.dev1+g{node}"
    assert not [warning for warning in recwarn if "shallow" in str(warning.message)]
    git(checkout, "tag", "v1.3.0")
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "v1.3.0", checkout.as_uri(), "release")
    assert now(tmp_path / "release") == "1.3.0"


def test_worktree_is_a_checkout(checkout, tmp_path):
    git(checkout, "tag", "v2.0.0")
    git(checkout, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert now(tmp_path / "tree") == "2.0.0"


def test_archive_of_a_commit_states_its_tag(checkout, tmp_path):
    """As a forge offers it for download: no git, but .git_archival.txt, which a build reads."""
    from setuptools_scm import Configuration, _get_version

    git(checkout, "tag", "v1.2.3")
    node = commit(checkout, "more")
    git(checkout, "archive", "--prefix=it/", "-o", str(tmp_path / "it.zip"), "HEAD")
    with zipfile.ZipFile(tmp_path / "it.zip") as archive:
        archive.extractall(tmp_path)
    config = Configuration.from_file(tmp_path / "it" / "pyproject.toml", root=str(tmp_path / "it"))
    assert _get_version(config).startswith(f"1.2.4.dev1+g{node[:7]}")


def metadata(folder, name, number, **files):
    place = folder / f"{name}"
    place.mkdir(parents=True)
    (place / ("PKG-INFO" if name.endswith("egg-info") else "METADATA")).write_text(
        f"Metadata-Version: 2.1\nName: asteroid-stab\nVersion: {number}\n"
    )
    for file, text in files.items():
        (place / f"{file}.json").write_text(text)


def test_installed_wheel_has_the_version_of_its_metadata(tmp_path):
    metadata(tmp_path, "asteroid_stab-4.5.6.dist-info", "4.5.6")
    assert now(tmp_path) == "4.5.6"


def test_unpacked_sdist_has_its_own_version_though_another_is_installed(tmp_path, monkeypatch):
    metadata(tmp_path / "sdist", "asteroid_stab.egg-info", "4.5.7")
    metadata(tmp_path / "site", "asteroid_stab-1.0.dist-info", "1.0")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert now(tmp_path / "sdist") == "4.5.7"


def test_copy_without_anything_has_no_version_of_another_install(tmp_path, monkeypatch):
    metadata(tmp_path / "site", "asteroid_stab-1.0.dist-info", "1.0")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert now(tmp_path / "copy") == UNKNOWN


def test_editable_install_of_a_folder_without_git(tmp_path, monkeypatch):
    url = f'{{"url": "{(tmp_path / "copy").as_uri()}", "dir_info": {{"editable": true}}}}'
    metadata(tmp_path / "site", "asteroid_stab-1.1.dist-info", "1.1", direct_url=url)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert now(tmp_path / "copy") == "1.1"


def test_metadata_count_where_git_cannot_be_asked(checkout, monkeypatch):
    metadata(checkout, "asteroid_stab.egg-info", "4.5.8")
    assert now(checkout) != "4.5.8"
    monkeypatch.setenv("PATH", os.devnull)  # no git
    assert now(checkout) == "4.5.8"
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "setuptools_scm", None)  # not installed
    assert now(checkout) == "4.5.8"


def test_package_states_its_version_when_it_is_asked(monkeypatch):
    assert asteroid_stab.__version__ == version(ROOT)
    with pytest.raises(AttributeError, match="module 'asteroid_stab' has no attribute 'nothing'"):
        asteroid_stab.nothing  # noqa: B018
    code = "import sys, asteroid_stab; assert 'setuptools_scm' not in sys.modules; print(asteroid_stab.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == asteroid_stab.__version__
    assert Path(module.__file__).parents[1] == ROOT
