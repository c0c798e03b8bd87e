"""``asteroid-stab recipes`` and ``recipes copy``."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from asteroid_stab.cli.main import main
from asteroid_stab.run.recipes import copy_recipe, recipe_files

ROOT = Path(__file__).resolve().parents[2]


def test_it_lists_every_recipe(capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(recipe_files())


def copied(capsys, *words):
    """Copies a recipe and returns the words of the command that the program shows at the end."""
    assert main(["recipes", "copy", *map(str, words)]) == 0
    return shlex.split(capsys.readouterr().out.splitlines()[-1])


def test_copy_has_the_layout_of_a_config_folder_and_its_changes_are_composed(tmp_path, capsys):
    own = tmp_path / "my own"
    program, *command = copied(capsys, "lir/mini_librispeech", own)
    assert program == "asteroid-stab"
    assert sorted(file.relative_to(own).as_posix() for file in own.rglob("*") if file.is_file()) == [
        "lir/README.md",
        "lir/mini_librispeech.yaml",
    ]
    name = "mini_librispeech.yaml"
    assert (own / "lir" / name).read_bytes() == (ROOT / "recipes" / "lir" / name).read_bytes()
    given = ["data.base.root=/x", "data.noise_root=/y", "--print-config", f"run_dir={tmp_path}/run"]
    file = own / "lir" / "mini_librispeech.yaml"
    file.write_text(file.read_text() + "seed: 1234\n")
    assert main([*command, *given]) == 0
    assert "seed: 1234" in capsys.readouterr().out


def test_a_copied_card_has_no_link_that_leads_nowhere(tmp_path):
    links = {}
    for name in recipe_files():
        card = ROOT / "recipes" / f"{name}.yaml"
        if not (card.parent / "README.md").is_file():
            continue
        folder = tmp_path / name.replace("/", "_")
        copy_recipe(name, folder)
        copied = (folder / name).parent / "README.md"
        links[name] = re.findall(r"\]\(([^)\s]+)\)", copied.read_text(encoding="utf-8"))
        here = [link for link in links[name] if "://" not in link and not link.startswith("#")]
        assert all((copied.parent / link).exists() for link in here), name
    assert any("://" in link for found in links.values() for link in found)
    assert "(../" in (ROOT / "recipes/lir/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recipe_files())
def test_every_recipe_of_the_package_is_copied_whole(name, tmp_path, capsys):
    copied(capsys, name, tmp_path)
    assert recipe_files(tmp_path)[name] == tmp_path / f"{name}.yaml"


@pytest.mark.slow
def test_command_at_the_end_can_be_pasted_and_trains(tmp_path, capsys):
    _, *command = copied(capsys, "baseline/toy", tmp_path / "own")
    file = tmp_path / "own" / "baseline" / "toy.yaml"
    file.write_text(file.read_text() + "seed: 1234\n")
    limits = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"]
    run = [sys.executable, "-m", "asteroid_stab.cli.main", *command, *limits, f"run_dir={tmp_path}/run"]
    subprocess.run(run, check=True, cwd=tmp_path, capture_output=True)
    assert "seed: 1234" in (tmp_path / "run" / "config.yaml").read_text()


def refused(capsys, *words):
    assert main(["recipes", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, capsys):
    copied(capsys, "baseline/toy", tmp_path)
    (tmp_path / "baseline" / "toy.yaml").write_text("mine")
    place = str(tmp_path / "baseline" / "toy.yaml")
    assert f"{place!r} exists already: edit it, remove it, or name" in refused(capsys, "copy", "baseline/toy", tmp_path)
    assert (tmp_path / "baseline" / "toy.yaml").read_text() == "mine"
    (tmp_path / "baseline" / "README.md").write_text("my card")
    copied(capsys, "baseline/mini_librispeech", tmp_path)
    assert (tmp_path / "baseline" / "README.md").read_text() == "my card"


def test_what_cannot_be_copied_is_refused(tmp_path, capsys):
    assert refused(capsys, "copy", "baseline/tpy", tmp_path) == (
        "asteroid-stab recipes: error: no recipe 'baseline/tpy' (did you mean 'baseline/toy'?); "
        "'asteroid-stab recipes' lists them\n"
    )
    (tmp_path / "file").touch()
    message = refused(capsys, "copy", "baseline/toy", tmp_path / "file" / "deeper")
    assert f"the copy needs a folder, but {str(tmp_path / 'file')!r} is a file: name another one" in message
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_own_recipe_is_copied_too(tmp_path, capsys):
    own = tmp_path / "own" / "mine" / "a.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# a recipe\n")
    assert main(["recipes", "--config-dir", str(tmp_path / "own"), "copy", "mine/a", str(tmp_path / "two")]) == 0
    assert "mine/a.yaml" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "two" / "mine").iterdir()] == ["a.yaml"], "it has no card"


def test_copy_without_its_words_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["recipes", "copy", "baseline/toy"])
    assert "the following arguments are required: DIR" in capsys.readouterr().err
