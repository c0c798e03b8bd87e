"""Files of torch.save from anybody: a changed bit is noticed, and what is no data runs nowhere."""

import os
import random
import zipfile

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.models import save_model
from asteroid_stab.models.saved import check_archive, read_saved
from asteroid_stab.run.checkpoints import UpgradedCheckpoints


@pytest.fixture
def file(tmp_path, tiny_model):
    save_model(tiny_model(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.equal(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    return one == other


def test_every_changed_bit_is_noticed_or_without_effect(file):
    """Between the records stand bytes that nobody reads."""
    whole, content = file.read_bytes(), read_saved(file, "model file")
    rng, n_noticed = random.Random(0), 0
    for _ in range(300):
        at = rng.randrange(8 * len(whole))
        data = bytearray(whole)
        data[at // 8] ^= 1 << at % 8
        file.write_bytes(data)
        try:
            read = read_saved(file, "model file")
        except StabError:
            n_noticed += 1
        else:
            assert equal(read, content), at
    assert n_noticed > 100


def test_a_changed_weight_is_named_as_damage_in_all_readers(file):
    with zipfile.ZipFile(file) as archive:
        record = next(one for one in archive.infolist() if one.filename.endswith("data/0"))
        with archive.open(record) as opened:
            at = opened._orig_compress_start
    data = bytearray(file.read_bytes())
    data[at + 3] ^= 0x40  # of the exponent of the first weight
    file.write_bytes(data)
    assert torch.load(file, weights_only=True)  # torch itself takes it
    with pytest.raises(
        StabError, match=r"no readable model file: .*damaged, copy it again \(Bad CRC-32 for .*data/0'\)"
    ):
        read_saved(file, "model file")
    with pytest.raises(StabError, match="model.pth' is no readable checkpoint: it is damaged"):
        UpgradedCheckpoints().load_checkpoint(file, weights_only=True)


def test_files_in_the_old_format_are_read(tmp_path):
    content = {"a": torch.arange(3.0)}
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert equal(read_saved(tmp_path / "old.pth", "model file"), content)


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("new", [True, False])
def test_code_is_refused_in_one_line(tmp_path, new):
    torch.save({"state_dict": Code(tmp_path / "made")}, tmp_path / "m.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(
        StabError, match=r"m.pth' is no readable checkpoint: it holds a \w+.mkdir, which is more than data$"
    ):
        read_saved(tmp_path / "m.pth", "checkpoint")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04", b"garbage" * 1000, b"\x80\x02.", b"\0" * 5000])
def test_garbage_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(StabError, match=r"^[^\n\x1b]*m.pth' is no readable model file: [^\n\x1b]*$"):
        read_saved(tmp_path / "m.pth", "model file")


def test_bombs_are_refused_before_they_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\0" * 10**8)
    with pytest.raises(ValueError, match="records are compressed"):
        check_archive(tmp_path / "bomb.pth")
    with zipfile.ZipFile(tmp_path / "twice.pth", "w") as archive:
        archive.writestr("m/data/0", b"\0" * 10**5)
        archive.filelist += [archive.filelist[0]] * 50  # of one place in the file
    with pytest.raises(ValueError, match="records state more than the"):
        check_archive(tmp_path / "twice.pth")


def test_a_view_that_claims_more_values_than_the_file_has_is_refused(tmp_path):
    file = tmp_path / "huge.pth"
    weights = {"a": [torch.zeros(3, 4).mT, torch.zeros(0), {"b": torch.zeros(1).expand(10**9)}]}
    torch.save(weights, file)
    assert file.stat().st_size < 10_000
    with pytest.raises(StabError, match=r"no readable model file: .*a tensor of shape \[1000000000\] has 4 bytes"):
        read_saved(file, "model file")
    weights["a"].pop()
    weights["a"].append(weights)  # a loop
    torch.save(weights["a"][:2], file)
    assert len(read_saved(file, "model file")) == 2
