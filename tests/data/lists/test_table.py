"""Tables as spreadsheets, other systems and people write them: the same rows, and faults that are named."""

import pytest

from asteroid_stab.data.lists.table import ListTable
from asteroid_stab.errors import StabError

PLAIN = "name,gain\nx,0.5\ny é,2\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.removesuffix("\n"),
        PLAIN + "\n,\n  \n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("gain\n", "gain,\n"),
        PLAIN.replace("name,gain", '"name", gain '),
        "note,gain,name\n,0.5,x\n7,2,y é\n",
    ],
)
def test_variants_are_one_table(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    table = ListTable(tmp_path / "t.csv", "table")
    table.require(["name", "gain"])
    assert table.texts("name") == ["x", "y é"]
    assert table.numbers("gain") == [0.5, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table .*t.csv must have columns and rows, it is empty"),
        ("\ufeff\r\n\r\n", "it is empty"),
        ("name,gain\n", "must have rows, got none"),
        ("name\nx\n", r"must have the columns gain; it has \['name'\]"),
        ("name;gain\nx;0.5\n", r"must have the columns name, gain; it has \['name;gain'\]; .* by commas, not by ';'"),
        ("name\tgain\nx\t0.5\n", r"its cells must be separated by commas, not by '\\t'"),
        ("name,gain,name\nx,1,y\n", "must have one column of each name, got 'name' twice"),
        ("name,gain\nx,1\na, b,2\n", "row 2 of .* must have 2 cells, got 3: '2' has no column"),
        ("name,gain\nx,1\ny,\n", "row 2 of .* must have a gain, got nothing"),
        ("name,gain\nx\n", "row 1 of .* must have a gain, got nothing"),
        ("name,gain\nx,inf\n", "row 1 of .*: gain must be a number, got 'inf'"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    (tmp_path / "t.csv").write_bytes(text.encode())

    def read():
        table = ListTable(tmp_path / "t.csv", "table")
        table.require(["name", "gain"])
        return table.numbers("gain")

    with pytest.raises(StabError, match=message):
        read()


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(StabError, match="there is no table .*t.csv: make one"):
        ListTable(tmp_path / "t.csv", "table", ": make one")
    for content in (b"\xff\xfe\x00", b"a,b\n\xe4,1\n", b'"' + b"x" * 200_000):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(StabError, match="cannot read the table .*t.csv"):
            ListTable(tmp_path / "t.csv", "table")
    for encoding in ("latin-1", "utf-16"):  # as spreadsheets save them
        (tmp_path / "t.csv").write_bytes(PLAIN.encode(encoding))
        with pytest.raises(StabError, match="cannot read the table .*codec .*; save it as UTF-8"):
            ListTable(tmp_path / "t.csv", "table")
    with pytest.raises(StabError, match="cannot read the table"):
        ListTable(tmp_path, "table")
