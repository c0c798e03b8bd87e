"""``--recogniser`` and ``--transcripts``."""

import hashlib
import sys
import types

import pytest

from asteroid_stab.cli.evaluate_options import options_of
from asteroid_stab.cli.recognition import Recognition
from asteroid_stab.errors import StabError


@pytest.fixture
def table(tmp_path, monkeypatch):
    pytest.importorskip("meeteval")
    module = types.ModuleType("some_asr")
    module.hear = lambda signal, sample_rate: "a b"
    monkeypatch.setitem(sys.modules, "some_asr", module)
    file = tmp_path / "said.csv"
    file.write_text("name,source_1\nx,a b\n")
    return file


def test_neither_is_no_recognition():
    found = Recognition.of(options_of(["RUN"]))
    assert (found.recognise, found.settings) == (None, {})
    assert found.errors_in(None, None) is None


def test_both_are_read(table):
    found = Recognition.of(options_of(["RUN", "--recogniser", "some_asr.hear", "--transcripts", str(table)]))
    assert found.recognise(None, 8000) == "a b"
    assert found.transcripts == {"x": ["a b"]}
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    assert found.settings == {"recogniser": "some_asr.hear", "transcripts_sha256": digest}


def test_one_needs_the_other(table):
    with pytest.raises(StabError, match="--recogniser NAME needs --transcripts FILE too"):
        Recognition.of(options_of(["RUN", "--recogniser", "some_asr.hear"]))
    with pytest.raises(StabError, match="--transcripts FILE needs --recogniser NAME too"):
        Recognition.of(options_of(["RUN", "--transcripts", str(table)]))
