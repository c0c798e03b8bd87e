"""Tables that are printed."""

import pytest
from rich import console
from rich.table import Table

from asteroid_stab.printed import print_table


@pytest.mark.parametrize(("width", "most"), [(None, 80), (120, 120)])
def test_a_table_is_text_in_a_notebook_too(capsys, monkeypatch, width, most):
    """It was HTML there, as wide as it liked."""
    monkeypatch.setattr(console, "_is_jupyter", lambda: True)
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table(*(f"a heading of column {i}" for i in range(9)))
    table.add_row(*"abcdefghi")
    print_table(table, width)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("┏━━━")
    assert {len(line) for line in lines} == {max(map(len, lines))}
    assert most - 9 < len(lines[0]) <= most
