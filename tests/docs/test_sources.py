"""Pages that are made of the repository's texts and modules."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.docs

ROOT = Path(__file__).resolve().parents[2]


def test_a_card_is_the_one_text_with_its_files():
    from docs.sources import recipe_page

    page = recipe_page(ROOT / "recipes" / "hysteresis" / "README.md")
    assert "](dsd_lo.md)" in page
    assert "../dsd_lo/README.md" not in page
    assert (ROOT / "recipes" / "hysteresis" / "toy.yaml").read_text().strip() in page


def test_a_room_lists_its_modules():
    from docs.sources import modules, room_page

    assert "losses.pit_wrapper" in modules("losses")
    assert "data.corpora.dynamic" in modules("data")
    assert "errors" in modules("")
    assert not [name for name in modules("") if "compat" in name or name == "losses"]
    assert "- :py:obj:`~asteroid_stab.stabilizers.Stabilization`: Computes" in room_page("stabilizers")


def test_pages_of_files_that_went_are_removed(tmp_path, monkeypatch):
    from docs import sources

    monkeypatch.setattr(sources, "make", lambda: {"recipes/a.md": "# A\n"})
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "gone.md").write_text("x")
    (tmp_path / "faq.md").write_text("y")
    sources.write(SimpleNamespace(srcdir=tmp_path))
    assert {file.name: file.read_text() for file in tmp_path.rglob("*.md")} == {"a.md": "# A\n", "faq.md": "y"}
    (tmp_path / "recipes" / "a.md").touch()
    before = (tmp_path / "recipes" / "a.md").stat().st_mtime_ns
    sources.write(SimpleNamespace(srcdir=tmp_path))
    assert (tmp_path / "recipes" / "a.md").stat().st_mtime_ns == before


def test_links_of_a_notebook_are_turned_in_its_texts_only():
    from docs.sources import turn_links

    cells = [
        {"cell_type": "markdown", "source": ["[card](../../recipes/lir/README.md)\n", "`[x](gone.md)`"]},
        {"cell_type": "code", "source": ["x[0](../../recipes/lir/README.md)"]},
    ]
    source = [json.dumps({"cells": cells, "nbformat": 4})]
    turn_links(None, "tutorials/label_switching", source)
    made = json.loads(source[0])
    assert made["cells"][0]["source"] == "[card](../recipes/lir.md)\n`[x](gone.md)`"
    assert made["cells"][1] == cells[1]
    assert made["nbformat"] == 4
