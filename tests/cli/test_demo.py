"""What ``asteroid-stab demo`` refuses before it serves anything; tests/demo has the page."""

import pytest

from asteroid_stab.cli import demo, main
from asteroid_stab.models.files import save_model


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: name)


def refused(capsys, *words):
    assert main.main(["demo", *map(str, words)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("missing", ["gradio", "fastapi", "uvicorn"])
def test_a_missing_extra_is_named(monkeypatch, capsys, tmp_path, missing):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == missing else name)
    assert refused(capsys, tmp_path) == (
        f"asteroid-stab demo: error: the page is served by Gradio, and {missing} is not installed: "
        "pip install 'asteroid-stab[demo]'\n"
    )


def test_models_that_cannot_be_served_are_named(there, capsys, tmp_path, tiny_model):
    assert "no model file at" in refused(capsys, tmp_path)
    assert "each run must be given once" in refused(capsys, tmp_path, tmp_path / ".")
    save_model(tiny_model(), tmp_path / "best_model.pth")
    (tmp_path / "config.yaml").write_text("data: {}")
    (tmp_path / "metrics.csv").write_text("a\n1\n")
    assert "metrics.csv must be a table with the columns epoch" in refused(capsys, tmp_path)


def test_an_address_that_is_none_is_named(there, capsys, tmp_path, tiny_model):
    save_model(tiny_model(), tmp_path / "model.pth")
    assert "cannot listen on port 0 of '192.0.2.1'" in refused(
        capsys, tmp_path / "model.pth", "--host", "192.0.2.1", "--port", "0"
    )
    for port in ("-1", "65536", "x"):
        with pytest.raises(SystemExit, match="2"):
            demo.main([str(tmp_path / "model.pth"), f"--port={port}"])
        assert f"must be a port from 0 to 65535, got {port!r}" in capsys.readouterr().err
