"""Makes pages from the repository when the site is built: cards, config keys, the reference of every public name."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

from docs import config_keys
from docs.links import for_the_site
from docs.references import PACKAGE, exported, qualified, rooms

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {
    "README.md": "docs/index.md",
    "CONTRIBUTING.md": "docs/reference/contributing.md",
    "CHANGELOG.md": "docs/reference/changelog.md",
    "asteroid_stab/integrations/README.md": "docs/reference/toolkits.md",
    "egs/slurm/README.md": "docs/reference/machines.md",
    "egs/slurm/train.sbatch": "docs/reference/machines.md",
    "asteroid_stab": "docs/reference/api/index.md",
    "conf": "docs/reference/config.rst",
    "recipes": "docs/recipes/index.md",
}


def pages(root: Path = ROOT) -> dict[str, str]:
    """Returns the page of every file of the repository that has one, both from its root."""
    cards = {f"recipes/{card.parent.name}/README.md": f"docs/recipes/{card.parent.name}.md" for card in _cards(root)}
    own = [file for pattern in ("*.md", "*.svg", "tutorials/*.ipynb") for file in root.glob(f"docs/{pattern}")]
    return {**TEXTS, **cards, **{(name := file.relative_to(root).as_posix()): name for file in own}}


def _cards(root: Path) -> list[Path]:
    return sorted(root.glob("recipes/*/README.md"))


def recipe_page(card: Path, root: Path = ROOT) -> str:
    """Returns a recipe's card for the site, with the files of its recipes."""
    name = card.relative_to(root).as_posix()
    files = [
        f"### {card.parent.name}/{file.stem}\n\n```yaml\n{file.read_text(encoding='utf-8').rstrip()}\n```"
        for file in sorted(card.parent.glob("*.yaml"))
    ]
    text = for_the_site(card.read_text(encoding="utf-8"), name, pages(root))
    return "\n\n".join([text.rstrip(), "## The files", *files, ""])


def modules(room: str) -> list[str]:
    """Returns the public modules of a room; of "" those beside the rooms."""
    package = importlib.import_module(f"{PACKAGE}.{room}" if room else PACKAGE)
    walk = pkgutil.walk_packages if room else pkgutil.iter_modules
    found = [(info.name, info.ispkg) for info in walk(package.__path__, f"{package.__name__}.")]
    names = [name.removeprefix(f"{PACKAGE}.") for name, is_package in found if room or not is_package]
    return [name for name in names if not name.rpartition(".")[2].startswith("_")]


def room_page(room: str) -> str:
    """Returns the reference of a room's public names, in reStructuredText."""
    title = f"{PACKAGE}.{room}" if room else PACKAGE
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", "   :no-members:", ""]
    names = exported(room) if room else []
    if names:
        lines += [f"``from {title} import`` ...", ""]
        for name in sorted(names, key=str.lower):
            found = getattr(importlib.import_module(title), name)
            doc = (inspect.getdoc(found) or "").split("\n\n")[0]
            doc = qualified(" ".join(doc.split()), found.__module__, getattr(found, "__qualname__", ""))
            lines.append(f"- :py:obj:`~{title}.{name}`: {doc}")
        lines.append("")
    for module in modules(room):
        lines += [module, "-" * len(module), "", f".. automodule:: {PACKAGE}.{module}", "   :members:"]
        lines += ["   :show-inheritance:", ""]
    return "\n".join(lines)


def make(root: Path = ROOT) -> dict[str, str]:
    """Returns the text of every page that is made, by its path under ``docs/``."""
    found = {f"recipes/{card.parent.name}.md": recipe_page(card, root) for card in _cards(root)}
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "asteroid_stab/integrations/README.md", "egs/slurm/README.md"):
        place = TEXTS[name].removeprefix("docs/")
        found[place] = for_the_site((root / name).read_text(encoding="utf-8"), name, pages(root))
    script = (root / "egs/slurm/train.sbatch").read_text(encoding="utf-8").rstrip()
    found["reference/machines.md"] += f"\n## train.sbatch\n\n```bash\n{script}\n```\n"
    found["recipes/index.md"] = _index("The recipes", [card.parent.name for card in _cards(root)], _OF_RECIPES)
    found["reference/api/index.md"] = _index("Every public name", ["top", *rooms()], _OF_NAMES)
    found["reference/config.rst"] = config_keys.page(root / "conf")
    found["reference/api/top.rst"] = room_page("")
    return found | {f"reference/api/{room}.rst": room_page(room) for room in rooms()}


def _index(title: str, names: list[str], text: str) -> str:
    return "\n".join([f"# {title}", "", text, "", "```{toctree}", ":maxdepth: 1", "", *names, "```", ""])


_OF_RECIPES = "A card for each paper: its claim, its numbers beside ours, the commands, and where we had to guess."
_OF_NAMES = "A page for each room of the package, made from the docstrings. What a room offers is listed at its top."


def write(app: Any) -> None:
    """Writes the pages that are made where their text has changed, and removes pages of files that went."""
    docs = Path(app.srcdir)
    made = make()
    for folder in ("recipes", "reference"):
        for file in [file for file in (docs / folder).rglob("*") if file.is_file()]:
            if file.relative_to(docs).as_posix() not in made:
                file.unlink()
    for name, text in made.items():
        file = docs / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def turn_links(app: Any, docname: str, source: list[str]) -> None:
    """Turns the links of a page or notebook that stands in ``docs/`` as it is."""
    page, notebook = f"docs/{docname}.md", f"docs/{docname}.ipynb"
    if page in pages():
        source[0] = for_the_site(source[0], page, pages())
    elif notebook in pages():
        source[0] = notebook_for_the_site(source[0], notebook)


def notebook_for_the_site(text: str, name: str) -> str:
    """Returns a notebook with the links of its texts turned into links to the pages of the site.

    Args:
        text: the notebook, in JSON.
        name: its file in the repository, from the root.
    """
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = for_the_site("".join(cell["source"]), name, pages())
    return json.dumps(notebook)


def setup(app: Any) -> dict[str, Any]:
    """Registers both with Sphinx."""
    app.connect("builder-inited", write)
    app.connect("source-read", turn_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
