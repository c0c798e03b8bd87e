import pytest

from asteroid_stab.data.corpora.file_rules import check_rule, count_by_rule, files_by_rule


def test_files_are_found_by_their_names(tmp_path):
    for name in ("a[1]/x_s1.wav", "a[1]/y_s1.wav", "a[1]/y_s2.wav", "a1/z_s1.wav", "a[1]/.h_s1.wav", "b/b_s1.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(files_by_rule(tmp_path, "a[1]/{name}_s{j}.wav")) == ["x", "y"]
    assert sorted(files_by_rule(tmp_path, "{name}/{name}_s{j}.wav")) == ["b"]
    assert count_by_rule(tmp_path, "a[1]/{name}_s{j}.wav") == 2
    assert (count_by_rule(tmp_path, "none/{name}{j}"), count_by_rule(tmp_path, "none/{name}")) == (0, 1)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("mix.wav", r"x must be a path with \{name\}, such as .*, got 'mix.wav'"),
        ("{nam}.wav", r"got \{nam\} in '\{nam\}.wav'"),
        ("{name}.wav{", r"got \{ in '\{name\}.wav\{'"),
        ("../{name}.wav", "x must be a path within the corpus, got '../{name}.wav'"),
        ("/{name}.wav", "x must be a path within the corpus"),
    ],
)
def test_rules_that_are_none(rule, message):
    with pytest.raises(ValueError, match=message):
        check_rule("x", rule, ["{name}"])
