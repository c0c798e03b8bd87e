"""Dotted names: what they mean, and what is said where they mean nothing."""

import pytest

from asteroid_stab.dotted import absent, find


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a user's own, with a module that is whole and one that breaks."""
    folder = tmp_path / "my_asr"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import math\nfrom fractions import Fraction\n\n"
        "class Recogniser:\n    def hear(self): ...\n    def write(self): ...\n"
        "def __getattr__(name):\n    import fractions\n"
        "    if name == 'lazy':\n        import no_such_package\n    raise AttributeError(name)\n"
    )
    (folder / "whole.py").write_text("def transcribe(x, rate): return ''\ndef _own(): ...\n")
    (folder / "broken.py").write_text("import math\nmath.sqrd\n")
    (folder / "empty.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my_asr.whole.transcibe", "my_asr.whole has no 'transcibe' (did you mean 'transcribe'?)"),
        ("my_asr.whole.x", "my_asr.whole has no 'x'; it has transcribe"),
        ("my_asr.hole.transcribe", "my_asr has no 'hole' (did you mean 'whole'?)"),
        ("my_asr.zz", "my_asr has no 'zz'; it has Recogniser"),
        ("my_asr.empty.f", "my_asr.empty has no 'f'; it defines no function and no class"),
        ("my_asr.Recogniser.zz", "my_asr.Recogniser has no 'zz'; it has hear, write"),
        ("my_asr.whole.transcribe.now", "my_asr.whole.transcribe has no 'now'"),
        ("math.pi.floors", "math.pi has no 'floors'"),
        ("torch.float32.itemsizes.x", "torch.float32 has no 'itemsizes' (did you mean 'itemsize'?)"),
        ("my_asr..transcribe", "a name between two dots is missing"),
        ("my_asr.whole.", "a name behind the last dot is missing"),
        ("my_asr._own", "my_asr has no '_own'; it has Recogniser"),
        ("my_asr.broken.f", ""),
        ("my_asr.lazy", ""),
        ("no_such_asr.f", ""),
    ],
)
def test_what_is_absent_is_named_with_what_is_there(package, target, words):
    with pytest.raises((ImportError, AttributeError)):
        find(target)
    assert absent(target) == words


def test_a_name_is_found_in_a_module_not_imported_before(package):
    assert find("my_asr.whole.transcribe")(None, 8000) == ""
    assert find("my_asr.Recogniser.hear").__name__ == "hear"
