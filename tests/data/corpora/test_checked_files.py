"""Files of mixtures that do not fit each other are counted and named."""

import numpy as np
import pytest
from trees import RATE, write

from asteroid_stab.data.corpora.checked_files import check_files
from asteroid_stab.errors import StabError


def test_channels_are_of_each_role(tmp_path):
    for name, shape in (("mix", (80, 4)), ("one", (80,)), ("two", (80, 4)), ("three", (80, 2))):
        write(tmp_path / f"{name}.wav", np.zeros(shape), RATE)
    paths = {role: [str(tmp_path / f"{role}.wav")] for role in ("mix", "one", "two", "three")}
    fitting = {role: paths[role] for role in ("mix", "one", "two")}
    assert check_files(fitting, RATE, tmp_path, channels={"mix": [4], "two": [1, 4]}) == [80]
    found = ["mix.wav has 4 channels instead of 1", "two.wav has 4 channels instead of 1"]
    found += ["three.wav has 2 channels instead of 1 or 4"]
    with pytest.raises(StabError, match=f"3 of the 4 files of .* cannot be used: {', '.join(found)}"):
        check_files(paths, RATE, tmp_path, channels={"three": [1, 4]})
