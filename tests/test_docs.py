"""What the pages for people promise: files, targets, recipes; that commands are taken and citations are right."""

import argparse
import functools
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hosted_recipes import is_lacking
from notebooks import NOTEBOOKS, WIDEST, text_of

from asteroid_stab.cli.main import VERBS, main
from asteroid_stab.cli.train import _split
from asteroid_stab.errors import StabError
from asteroid_stab.run.check import check_config
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.overrides import keys
from asteroid_stab.run.recipes import recipe_files
from asteroid_stab.run.study_plan import plan
from asteroid_stab.run.study_rows import read_rows

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),  # other folders there hold pages that are made
        *NOTEBOOKS,
        *ROOT.glob("asteroid_stab/**/*.md"),
        *ROOT.glob("recipes/**/*.md"),
        *ROOT.glob("egs/**/*.md"),
    ]
)
CARDS = sorted(ROOT.glob("recipes/*/README.md"))


def name_of(page):
    return str(page.relative_to(ROOT))


def sparing(pages):
    """The pages as parameters; cards of recipes, which hold most commands, are slow but for one."""
    own = [page.parent.parent.name == "recipes" and page.parent.name != "baseline" for page in pages]
    return [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] if is_slow else [])
        for page, is_slow in zip(pages, own, strict=True)
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_names_what_is_there(page):
    text = text_of(page)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), f"links to {link}"

    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= made
    assert set(re.findall(r"asteroid-stab ([a-z]+)\b", code)) <= set(VERBS)
    recipes = {name for name in re.findall(r"asteroid-stab train ([\w/]+)(?![\w/=<])", code) if "/" in name}
    assert recipes <= set(recipe_files())
    for script in re.findall(r"\begs/[\w/]+\.sh", code) if page.name != "CHANGELOG.md" else ():  # it names what was
        assert (ROOT / script).exists(), script


# --- commands ---


ON_THE_SITE = [page for page in PAGES if page.parent != ROOT and page.suffix in (".md", ".ipynb")]


@pytest.mark.parametrize("page", ON_THE_SITE, ids=name_of)
def test_code_is_not_cut_off_on_its_page(page):
    """What stands further right is seen only by who moves the block; often it was the comment that explains a line."""
    blocks = re.findall(r"^```.*?^```", text_of(page), re.MULTILINE | re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if len(line) > WIDEST] == []


def spans(text):
    """Code of a text, in one line each: the lines of shell blocks, and what stands between single backticks."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shell = [block.replace("\\\n", " ") for language, block in blocks if language in ("", "bash", "sh")]
    yield from (line.strip() for block in shell for line in block.splitlines())
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))


def commands(text):
    """Words of every command of a text: of the program, and of the scripts of egs/ that are given words."""
    short = dict(re.findall(r'^([A-Z])="(.*)"$', text, re.MULTILINE))
    for span in spans(text):
        line = re.sub(r"\$([A-Z])\b", lambda match: short.get(match[1], match[0]), span)
        line = re.sub(r"^(?:[A-Z]+=\S+ )+", "", re.sub(r" > \S+$", "", line))
        if "<" not in line and re.match(r"asteroid-stab [a-z]|egs/[\w/]+\.sh\s", line):
            yield shlex.split(line, comments=True)


class Parsed(Exception):
    """The words of a command fit its parser, and it should do no more."""


@pytest.fixture
def parse_only(monkeypatch):
    """Lets a verb end once it has understood its words."""
    for name in ("parse_args", "parse_intermixed_args"):
        parse = getattr(argparse.ArgumentParser, name)

        def and_stop(self, *args, parse=parse, **kwargs):
            parse(self, *args, **kwargs)
            raise Parsed

        monkeypatch.setattr(argparse.ArgumentParser, name, and_stop)


def asked_by(script, words, folder):
    """The commands of the program that a script would run."""
    program = folder / "bin" / "asteroid-stab"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\nprintf '%s\\037' \"$@\" >> '{folder}/asked'; echo >> '{folder}/asked'\n")
    program.chmod(0o755)
    (folder / "asked").write_text("")
    environment = {**os.environ, "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]), "NOISE": "x"}
    runs = folder / "checkout"
    runs.mkdir(exist_ok=True)
    if not (runs / "egs").exists():
        (runs / "egs").symlink_to(ROOT / "egs")
    done = subprocess.run(
        ["bash", script, *words], cwd=runs, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\037")[:-1] for line in (folder / "asked").read_text().splitlines()]


def write_modules(text, folder):
    """Writes the modules that a page shows, in blocks whose first line is a comment with the file's name."""
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        with open(folder / name, "a", encoding="utf-8") as file:
            file.write(code)


@functools.cache
def composes(recipe, overrides):
    """Composes and checks; of a recipe whose package is not here, only that it is one."""
    if not is_lacking(recipe):
        check_config(compose_recipe(recipe, list(overrides)))


def check_train(words):
    words = [word for word in words if not word.startswith("--")]
    recipe, overrides, resume = _split(words)
    if resume is None:
        composes(recipe, tuple(word for word in overrides if not word.startswith(("run_dir=", "seed="))))


def trainings_of(verb, words):
    """The words of the trainings that a verb runs."""
    if verb == "train":
        return [words]
    if verb == "study":
        files = [file for word in words if word.endswith(".rows") for file in sorted(ROOT.glob(word)) or [ROOT / word]]
        rows = [row for row in read_rows(files) if not is_lacking(row.recipe)]  # planning composes each row
        runs = plan(
            rows, [1], Path("runs/study"), [word for word in words if "=" in word and not word.startswith("--")]
        )
        return [run.training[1:] for run in runs]
    return []


@pytest.mark.parametrize("page", sparing([page for page in PAGES if page.name != "CHANGELOG.md"]))
def test_every_command_of_a_page_is_understood(page, parse_only, tmp_path, monkeypatch):
    """Trainings are composed and checked, those of scripts and studies too; other verbs parse their words."""
    monkeypatch.setenv("NOISE", "x")
    write_modules(text_of(page), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for words in commands(text_of(page)):
        asked = [words[1:]] if words[0] == "asteroid-stab" else asked_by(words[0], words[1:], tmp_path)
        recipes = set()
        for verb, *rest in asked:
            if verb != "train":
                with pytest.raises(Parsed):
                    main([verb, *rest])
            for training in trainings_of(verb, rest):
                if verb != "study" or training[0] not in recipes:  # test_recipes composes each row without more words
                    recipes.add(training[0])
                    check_train(training)


def overrides_in(text):
    """Overrides that stand between backticks without a command, in lists of words."""
    for span in spans(text):
        words = span.split(" ")
        if all(re.fullmatch(r"~?[a-z_][\w.]*=\S+", word) for word in words):
            yield words


@pytest.mark.parametrize("card", sparing(CARDS))
def test_every_override_of_a_card_is_one_of_its_recipes(card, monkeypatch):
    """It composes with one of them; a bare name (``level=source``) is an argument of a part of one."""
    monkeypatch.setenv("NOISE", "x")
    own = [name for name in recipe_files() if name.split("/")[0] == card.parent.name and not is_lacking(name)]
    for words in overrides_in(card.read_text(encoding="utf-8")):
        assert all(is_choice(word) or is_argument(word) for word in words) or any(
            fits(recipe, tuple(words)) for recipe in own
        ), words


def is_choice(word):
    """Whether it chooses options of ``conf/``: ``loss=pit``, ``stabilizer=[dsd]``."""
    group, value = word.split("=", 1)
    return all((ROOT / "conf" / group / f"{name}.yaml").exists() for name in value.strip("[]").split(",") if name)


@functools.cache
def argument_names():
    return {name for file in (ROOT / "conf").rglob("*.yaml") for name in re.findall(r"(\w+):", file.read_text())}


def is_argument(word):
    """Whether it is the bare name of an argument that a part in ``conf/`` has."""
    return word.split("=")[0] in argument_names() and "." not in word.split("=")[0]


@functools.cache
def keys_of(recipe):
    words = ["loss.run=none"] if recipe.endswith("_fixed") else []
    return keys(compose_recipe(recipe, words))


def fits(recipe, words):
    """Whether a recipe has the keys, or composes with the words where they choose ingredients as well."""
    if {word.split("=")[0] for word in words if not is_choice(word)} <= {*keys_of(recipe)}:
        return True
    try:
        composes(recipe, words)
    except StabError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`asteroid-stab report\nRUN`", [["asteroid-stab", "report", "RUN"]]),
        ("```bash\nasteroid-stab train a/b x=1  # trains\n```", [["asteroid-stab", "train", "a/b", "x=1"]]),
        ('```bash\nS="egs/a/run.sh --x DIR"\n```\n| `$S --y 1` |', [["egs/a/run.sh", "--x", "DIR", "--y", "1"]]),
        ("`NOISE=a asteroid-stab study r`", [["asteroid-stab", "study", "r"]]),
        ("```yaml\na: 1\n```\n```bash\nasteroid-stab report a\n```", [["asteroid-stab", "report", "a"]]),
        ("`egs/toy` and `egs/toy/run.sh`, `asteroid-stab`", []),
    ],
)
def test_commands_are_found(text, found):
    assert list(commands(text)) == found


def test_a_command_that_its_recipe_refuses_is_seen():
    with pytest.raises(Exception, match=r"data\.base\.list_root|list_root"):
        check_train(["ssl/multitask_wsj0_2mix", "data.base.root=x", "data.base.list_root=y"])


# --- citations ---

# First author of each paper on arXiv that is cited.
FIRST_AUTHORS = {
    "1910.10279": "Maciejewski",
    "1910.13934": "Drude",
    "1910.14104": "Luo",
    "2507.09768": "Olsen", "2003.03927": "Gu",
    "1508.04306": "Hershey", "1703.06284": "Kolbæk", "1809.07454": "Luo", "1907.01160": "Wichern",
    "1908.01768": "Yousefi", "1910.06379": "Luo", "1910.12706": "Yang", "2006.11477": "Baevski", "2007.06028": "Liu",
    "2007.06833": "Tzinis", "2007.13975": "Chen", "2009.10795": "Swayamdipta", "2010.11871": "Tachibana",
    "2010.13228": "Tzinis",
    "2010.15366": "Huang", "2011.00803": "Wisdom", "2103.02644": "Tzinis", "2104.08955": "Dovrat", "2110.10593": "Gao",
    "2211.11917": "Bralios", "2304.04742": "Liu", "2311.12199": "Gao",
    "2406.05983": "Shin", "2407.15580": "Perera", "2409.06656": "Park", "2411.18497": "Perera", "2509.15666": "Feng",
}  # fmt: skip
# What each card reproduces: its authors, and a section or number that was once wrong.
AUTHORS = {
    "attention_pit": ["Kameoka, Seki, Li, Watanabe", "section 2.3", "section 2.2"],
    "cascaded_pit": ["Yang, Wu, Mao, Lee, Lee"],
    "dsd_lo": ["Gao, Gu, Marsic", "2110.10593"],
    "lir": ["Bralios, Tzinis, Wichern, Smaragdis, Le Roux", "Tzinis, Wang, Jiang, Smaragdis"],
    "probpit": ["Yousefi, Khorram, Hansen"],
    "reweighting": ["Tzinis, Bralios, Smaragdis"],
    "variable_sources": ["Wisdom, Erdogan, Ellis, Serizel, Turpault, Fonseca, Salamon, Seetharaman"],
    "ssl": ["Huang, Chuang, Liu, Chen, Yang, Lee"],
}


def cited(text):
    """Pairs of an arXiv number and the text before it."""
    for match in re.finditer(r"(?<![\d.])(\d{4}\.\d{5})(?!\d)", text):
        yield match[1], text[max(0, match.start() - 500) : match.start()]


def citing_files():
    folders = ("asteroid_stab", "conf", "recipes", "egs", "bench")
    files = [
        file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".md", ".yaml")
    ]
    return [ROOT / "README.md", *sorted(files)]


def test_every_arxiv_number_is_that_of_the_author_named_before_it():
    found = set()
    for file in citing_files():
        for number, before in cited(file.read_text(encoding="utf-8")):
            assert number in FIRST_AUTHORS, f"{name_of(file)} cites {number}: check it and give its first author"
            assert FIRST_AUTHORS[number] in before, f"{name_of(file)}: {number} is by {FIRST_AUTHORS[number]}"
            found.add(number)
    assert found == {*FIRST_AUTHORS}


@pytest.mark.parametrize("card", CARDS, ids=name_of)
def test_a_card_names_its_authors_and_links_to_its_paper(card):
    text = card.read_text(encoding="utf-8")
    assert re.search(r"\]\(https://", text.split("\n## ")[0]), "no link to the paper at the top"
    for words in AUTHORS.get(card.parent.name, ()):
        assert words in " ".join(text.split())
