"""Variants of a run: words into a model file and the words for its model."""

import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.variants import find_variant


@pytest.fixture
def run(tmp_path):
    for name in ("best_model.pth", "models/epoch_0010.pth", "models/epoch_0009.pth", "stages/stage_1.pth", "a/b.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"a model")
    return tmp_path


def test_model_files_are_named_and_in_order(run):
    assert {word: file.relative_to(run).as_posix() for word, file in RunLayout(run).model_files().items()} == {
        "epoch9": "models/epoch_0009.pth", "epoch10": "models/epoch_0010.pth", "stage1": "stages/stage_1.pth"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "file", "name"),
    [
        (None, "best_model.pth", ""),
        ("stage1", "stages/stage_1.pth", "stage1"),
        ("passes2,stage1,causal", "stages/stage_1.pth", "stage1,causal,passes2"),
        ("epoch7", "best_model.pth", "epoch7"),  # the model will have no such variant
        ("epoch10", "models/epoch_0010.pth", "epoch10"),  # kept by callbacks=[epoch_models]
    ],
)
def test_words_have_one_order(run, text, file, name):
    variant = find_variant(run, text)
    assert variant.file == run / file
    assert variant.name == name


def test_a_model_file_has_the_variants_of_its_model_alone(run):
    variant = find_variant(run / "best_model.pth", "stage1")
    assert (variant.file_word, variant.model_words) == ("", ("stage1",))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("", "stage1,epoch9", "one word may name a model file, got stage1 and epoch9"),
        ("", "stage1,", "words such as iterations2, separated by commas, got 'stage1,'"),
        ("a", None, "no model file at '.*a/best_model.pth'; a run folder has one from its first epoch on"),
        ("other.pth", None, "no model file at '.*other.pth'"),
    ],
)
def test_what_names_no_variant_is_refused(run, name, text, message):
    with pytest.raises(StabError, match=message):
        find_variant(run / name, text)
