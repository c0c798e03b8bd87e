"""Tables with a row for each item as files, which may come from anybody."""

import numpy as np
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.run.item_tables import DATA_MAP, ITEM_WEIGHTS
from asteroid_stab.run.layout import RunLayout

TABLE = np.array([[3, 7.5, 0.5, 1], [0, 0, 0, 0], [2, -4.0, 2.5, 0]], dtype=np.float32)


def test_a_map_is_read_as_it_was_written(tmp_path):
    file = RunLayout(tmp_path).data_map
    assert DATA_MAP.read(file) is None
    DATA_MAP.write(file, TABLE)
    assert DATA_MAP.read(file).tolist() == TABLE.tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TABLE[0], r"it holds \[4\] values of type float32"),
        (TABLE[:, :3], r"it holds \[3, 3\] values"),
        (TABLE.astype(int), "values of type int64"),
        (TABLE[:0], r"it holds \[0, 4\] values"),
        (-TABLE, "it holds counts below 0 or values that are not finite"),
        (TABLE * np.float32(np.nan), "it holds counts below 0 or values that are not finite"),
        (TABLE.astype(float) * 1e31, "it holds counts below 0 or values that are not finite"),
        (np.array([[{}]]), "Python objects in dtype"),
    ],
)
def test_another_table_is_refused(tmp_path, content, reason):
    file = RunLayout(tmp_path).data_map
    np.save(file, content)
    with pytest.raises(StabError, match=f"data_map.npy is no readable data map .*{reason}.*remove it"):
        DATA_MAP.read(file)


def test_a_table_of_another_kind_is_named_by_its_own_title(tmp_path):
    file = tmp_path / "item_weights.npy"
    DATA_MAP.write(file, TABLE)
    with pytest.raises(StabError, match=r"no readable table of weights \(ValueError: it holds \[3, 4\] values"):
        ITEM_WEIGHTS.read(file)
    ITEM_WEIGHTS.write(file, np.abs(TABLE[:, :3]))
    assert ITEM_WEIGHTS.read(file).shape == (3, 3)
