"""What the pages for people promise: files that they link to, targets, verbs and recipes that they name."""

import re
from pathlib import Path

import pytest

from asteroid_stab.cli.main import VERBS
from asteroid_stab.run.recipes import recipe_files

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("recipes/**/*.md"), *ROOT.glob("egs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_names_what_is_there(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), f"links to {link}"

    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= made
    assert set(re.findall(r"asteroid-stab ([a-z]+)\b", code)) <= set(VERBS)
    recipes = {name for name in re.findall(r"asteroid-stab train ([\w/]+)(?![\w/=<])", code) if "/" in name}
    assert recipes <= set(recipe_files())
    for script in re.findall(r"\begs/[\w/]+\.sh", code):
        assert (ROOT / script).exists(), script
