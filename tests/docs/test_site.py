"""The site: built as ``make docs`` builds it, and read through."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

pytestmark = pytest.mark.docs

ROOT = Path(__file__).resolve().parents[2]
ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|obj|math|ref|doc|exc):")


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


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("# A\n\n[x](nowhere.md)\n", "nowhere.md"),
        ("# A\n\n{py:class}`asteroid_stab.losses.NoSuchLoss`\n", "NoSuchLoss"),
    ],
    ids=["link", "name"],
)
def test_a_broken_reference_ends_the_build(build, tmp_path, page, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "index.md").write_text(page)
    lines = ["import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
    lines += ["extensions = ['sphinx.ext.autodoc', 'myst_nb', 'docs.references']", "nitpicky = True"]
    (tmp_path / "in" / "conf.py").write_text("\n".join(lines))
    done = build(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr
