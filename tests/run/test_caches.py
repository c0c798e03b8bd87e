"""Where a run folder of somebody else may have a cache written."""

import pytest
from omegaconf import OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.run.caches import check_caches


def config(folder, key="cache"):
    return OmegaConf.create({"data": {"base": {key: None if folder is None else str(folder)}, "n_src": 2}})


@pytest.mark.parametrize("key", ["cache", "cache_dir"])
def test_a_new_folder_must_be_named_by_the_user(tmp_path, key):
    run, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").touch()
    for folder in (other, tmp_path / "new", "/", "~"):
        with pytest.raises(StabError, match=rf"data.base.{key}=.*; a run folder may come from anybody"):
            check_caches(config(folder, key), run)
    check_caches(config(other, key), run, [f"data.base.{key}={other}"])


def test_a_cache_that_is_there_is_used(tmp_path):
    for name in ("tracks_8000hz_0.pack", "toy-0.speech"):
        folder = tmp_path / name.partition(".")[2]
        folder.mkdir()
        (folder / name).touch()
        check_caches(config(folder), tmp_path / "run")
    check_caches(config(None), tmp_path / "run")
    check_caches(config(tmp_path / "run" / "cache"), tmp_path / "run")
    with pytest.raises(StabError):
        check_caches(config(tmp_path / "run" / ".." / "elsewhere"), tmp_path / "run")
