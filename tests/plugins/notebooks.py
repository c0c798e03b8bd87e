"""What stands in a notebook."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
WIDEST = 88  # letters of code that fit on a page of the site, as in docs/tutorials/ruff.toml


def cells(notebook, kind="code"):
    """The cells of one kind, as they stand in the file."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def sources(notebook, kind="code"):
    """The text of each cell of one kind."""
    return ["".join(cell["source"]) for cell in cells(notebook, kind)]


def text_of(page):
    """The text of a page; of a notebook, its prose."""
    if page.suffix == ".ipynb":
        return "\n\n".join(sources(page, "markdown")) + "\n"
    return page.read_text(encoding="utf-8")
