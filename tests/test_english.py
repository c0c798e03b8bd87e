"""Plain English: phrases that an outsider has to read twice stay out of docstrings, comments, messages and cards."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from notebooks import NOTEBOOKS, text_of

ROOT = Path(__file__).resolve().parents[1]

# What to write in place of it -> the phrase; in any text.
PHRASES = {
    "again, newly": r"\banew\b",
    "any, no matter which": r"\bwhatever\b",
    "who": r"\bwho(so|m)?ever\b",
    "the same, also, too": r"\blikewise\b",
    "on average, mean value": r"\bin the mean\b(?! (value|of|square))",
    "not set, must be set": r"\bmust be said\b",
    "reported, raised, logged": r"\b(is|are|was|were|be|been|being|one is) told\b",
    "reports, raises, logs, shows": r"\btells\b",
    "weighs, has an effect": r"\b(has|have|had) a say\b",
    "nothing, or the base's text itself": r"\b(see|as in) the base\b|\bas the base's\b",
    "started": r"\bbegun\b",
    "has no, does not have": r"\b(has|have|had) not got\b",
    "has": r"\bhath\b",
    "of it, in it, from which": r"\b(thereof|therein|thereupon|wherein|whereof|whence|hitherto|henceforth)\b",
    "for lack of": r"\bfor want of\b",
    "whether": r"\bbe it\b",
    "or it will, so that not": r"\blest\b",
    "except": r"\bbut for (what|those|that|the)\b",
    "no longer": r"\b(is|are|takes? part|go(es)?|comes?) no more\b",
    "tolerates": r"\bbears? more\b",
}
# In place of it -> how a docstring must not begin: with a pronoun, a possessive or half a sentence.
BEGINNINGS = {
    "a noun": r"(Those|That) (of|that|which|who)\b",
    "a noun or a verb": r"(What|Nothing|Of|From|Theirs|Ours|None)\b",
    "the noun that is meant": r"The (host|base|parent|model)'s[.,;:]",
    "a verb": r"(See|As) (the|in|its)\b|As :|Against\b",
}


def files():
    """What is read by users and developers: the package, bench, ingredients, recipes, scripts and texts."""
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/*.py"),
        *NOTEBOOKS,
        ROOT / "Makefile",
        *(ROOT / ".ci").iterdir(),
    ]
    for folder in ("asteroid_stab", "bench", "conf", "recipes", "egs"):
        found += [file for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".md", ".yaml", ".sh", ".rows")]
    return sorted(file for file in found if file.is_file() and file.name != "CHANGELOG.md")


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield text


def strings(tree):
    """All strings, docstrings too; a formatted one without its values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def comments(source):
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def texts(name, source):
    """What a file says to a reader: strings and comments of a program, the prose of a text, comments of the rest."""
    if name.endswith(".py"):
        yield from strings(ast.parse(source))
        yield from comments(source)
    elif name.endswith((".md", ".ipynb")):
        prose = re.sub(r"^ *```.*?^ *```", "", source, flags=re.DOTALL | re.MULTILINE)
        yield re.sub(r"`[^`\n]+`", "`code`", prose)
    else:
        yield "\n".join(re.findall(r"(?:^|\s)#(.*)", source))


def faults(name, source):
    """Pairs of the words that were found and what to write in their place."""
    for text in texts(name, source):
        for instead, phrase in PHRASES.items():
            for match in re.finditer(re.sub(" ", r"\\s+", phrase), text, re.IGNORECASE):
                yield match[0], instead
    for text in docstrings(ast.parse(source)) if name.endswith(".py") else ():
        for instead, beginning in BEGINNINGS.items():
            match = re.match(beginning, text)
            if match:
                yield text.splitlines()[0], instead


def name_of(file):
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", files(), ids=name_of)
def test_file_is_in_plain_english(file):
    found = [f"{words!r}: write {instead}" for words, instead in faults(file.name, text_of(file))]
    assert not found


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("a.py", '"""Those of the stage."""', ["Those of the stage."]),
        ("a.py", 'def f():\n    """What it gives.\n\n    More."""', ["What it gives."]),
        ("a.py", 'class A:\n    def f(self):\n        """The host\'s, in a stage."""', ["The host's, in a stage."]),
        ("a.py", 'def f():\n    """Of the validation: counts."""', ["Of the validation: counts."]),
        ("a.py", 'def f():\n    """See the base."""', ["See the base", "See the base."]),
        ("a.py", 'def f():\n    """Against the input SNR."""', ["Against the input SNR."]),
        ("a.py", 'def f():\n    """As :meth:`g`, twice."""', ["As :meth:`g`, twice."]),
        ("a.py", "x = 1  # computed anew", ["anew"]),
        ("a.py", 'raise StabError(f"{x} is\\n told")', ["is\n told"]),
        ("a.py", 'anew = tells("what is more")', []),
        ("a.py", '"""Computes what is needed, of the stage."""', []),
        ("a.md", "It tells\n`whatever`.\n```\nanew\n```\nin the mean of x", ["tells"]),
        ("a.yaml", "anew: 1  # begun\n", ["begun"]),
        ("Makefile", "x: ## whatever it is\n", ["whatever"]),
    ],
)
def test_phrases_are_found(name, source, found):
    assert [words for words, _ in faults(name, source)] == found
