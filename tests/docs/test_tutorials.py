"""The notebooks: without outputs in the repository, run when the site is built, and short."""

from pathlib import Path

import pytest
from notebooks import NOTEBOOKS, WIDEST, cells, sources

ROOT = Path(__file__).resolve().parents[2]
MOST_S = 120  # of one core, all together: they run in each build of the site, and took 87 on two shared cores
SHOWN = {
    "label_switching": ["plain PIT ['", "hysteresis, 1 dB ['"],
    "own_corpus": ["Speech/train/train", "exit status 2", "test SI-SDRi", "runs/mine/report.html"],
    "own_model": ["got [2, 8000, 2]", "'+model.hidden=...' would add it", "torch.Size([4, 3, 8003])", "test SI-SDRi"],
    "own_stabilizer": ["of shape [6] (items) or [6, 3] (losses), got []", "HardFirst changes nothing in this run"],
    "cluster": ["the weights differ by", "batch_size=20 on each of 2 process(es), got 32 items", "exit status 2"],
}
PICTURES = {"label_switching": 1, "own_stabilizer": 1}
PLAYERS = {"own_corpus": 4, "own_model": 3}


def test_each_notebook_has_its_line_here():
    assert {notebook.stem for notebook in NOTEBOOKS} == {*SHOWN}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_is_kept_without_outputs(notebook):
    assert cells(notebook)
    for cell in cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_its_lines_are_not_cut_off_on_the_page(notebook):
    wide = [line for source in sources(notebook) for line in source.splitlines() if len(line) > WIDEST]
    assert wide == []


@pytest.mark.docs
@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_what_it_computed(pages, name):
    page = pages[f"tutorials/{name}.html"]
    outputs = "\n".join(output.get_text() for output in page.find_all(class_="cell_output"))
    assert [text for text in SHOWN[name] if text not in outputs] == []
    assert len(page.select(".cell_output img")) == PICTURES.get(name, 0)
    assert len(page.find_all("audio")) == PLAYERS.get(name, 0)


@pytest.mark.docs
@pytest.mark.parametrize("name", SHOWN)
def test_the_page_names_no_place_of_this_machine(pages, name):
    outputs = "\n".join(output.get_text() for output in pages[f"tutorials/{name}.html"].select(".cell_output"))
    assert [line for line in outputs.splitlines() if str(ROOT) in line or str(Path.home()) in line] == []
    assert "site-packages" not in outputs
    assert "/tmp/" not in outputs


@pytest.mark.docs
def test_they_run_within_two_minutes_of_one_core(notebook_seconds):
    """Seconds of the processor, which other work on the machine does not lengthen."""
    firsts = {sources(notebook)[0]: notebook.stem for notebook in NOTEBOOKS}
    used = {firsts[first.removesuffix("\n")]: seconds for first, seconds in notebook_seconds.items()}
    assert used.keys() == {*SHOWN}
    assert sum(used.values()) < MOST_S, used
