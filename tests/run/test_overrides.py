"""The one grammar of overrides: a value means the same to a new run and to one that exists."""

import pytest
from omegaconf import OmegaConf

from asteroid_stab.cli.arguments import check_data_overrides
from asteroid_stab.errors import StabError
from asteroid_stab.run.compose import compose_recipe
from asteroid_stab.run.overrides import apply, keys, path_in, quoted, read


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2024-05-01", "2024-05-01"),  # a date to YAML
        ("12:30", "12:30"),  # 750 to YAML 1.1
        ("yes", "yes"),  # true to YAML 1.1
        ("010", "010"),  # 8 to YAML 1.1
        ("1e-3", 0.001),  # text to YAML 1.1
        ("'a, b'", "a, b"),
        ("[1,two]", [1, "two"]),
        ("{a: 1}", {"a": 1}),
        ("null", None),
        ("", ""),
    ],
)
def test_a_value_is_the_same_in_a_new_run_and_in_one_that_exists(written, value):
    changed = apply(OmegaConf.create({"x": 0}), [f"x={written}"])
    assert OmegaConf.to_container(changed)["x"] == value
    reader = "+callbacks.reader={_target_: builtins.dict, x: '${mine}'}"  # a key that nothing reads is refused
    composed = compose_recipe("baseline/toy", [f"+mine={written}", reader])
    assert OmegaConf.to_container(composed)["mine"] == value


@pytest.mark.parametrize("text", ["seed=[1", "seed=a(b", "seed=a=b", "seed=1,2", "seed=é"])
def test_what_cannot_be_read_has_one_message(text):
    messages = []
    for use in (
        lambda: compose_recipe("baseline/toy", [text]),
        lambda: apply(OmegaConf.create({"seed": 0}), [text]),
        lambda: check_data_overrides([text]),
    ):
        with pytest.raises(StabError) as error:
            use()
        messages.append(str(error.value))
    assert len(set(messages)) == 1
    assert messages[0].startswith(f"the override {text!r} ")
    assert "needs quotes of its own: \"KEY='VALUE'\"" in messages[0]


def test_apply_changes_a_copy():
    config = OmegaConf.create({"root": "/a", "deep": {"n": 1}, "same": "${root}"})
    changed = apply(config, ["data.root=/b", "deep.n=2"], "data")
    assert changed == {"root": "/b", "deep": {"n": 2}, "same": "/a"}
    assert config.root == "/a"


def test_a_value_that_names_another_is_resolved(monkeypatch):
    monkeypatch.setenv("PLACE", "/b")
    changed = apply(OmegaConf.create({"root": "/a"}), ["root=${oc.env:PLACE}"])
    assert OmegaConf.to_container(changed, resolve=False) == {"root": "/b"}
    with pytest.raises(StabError, match="an override cannot be resolved: .*'nothing'"):
        apply(OmegaConf.create({"root": "/a"}), ["root=${nothing}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rot=/b", r"data has no key 'rot' \(did you mean 'root'\?\)"),
        ("root", "an override must be KEY=VALUE, got 'root'"),
        ("+new=1", r"an override of a run must be KEY=VALUE, got '\+new=1'"),
        ("~root", "an override of a run must be KEY=VALUE, got '~root'"),
        ("root@other=1", "an override of a run must be KEY=VALUE, got 'root@other=1'"),
    ],
)
def test_apply_names_what_it_cannot_take(text, message):
    with pytest.raises(StabError, match=message):
        apply(OmegaConf.create({"root": "/a"}), [text], "data")


def test_keys_are_all_keys():
    config = OmegaConf.create({"a": {"b": "???", "c": "${d}"}, "d": {"e": None, 1: [1]}})
    assert keys(config) == ["a", "a.b", "a.c", "d", "d.e", "d.1"]


PATHS = [
    *("2024-05-01", "12:30", "1e3", "010", "true", "a=b", "a,b", "[a]", "{a}", "é", "it's", "a~", "a b (2)", "a#b;c&d"),
    *("C:\\new\\", "ends with \\'", 'say "x"', "a\tb", "$a", " a", "x'y'", "'x'y", "ü/ß", "a@b", "+a", "x: y", "%"),
]


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_taken_as_it_is(text):
    assert path_in(read(f"run_dir={text}")) == path_in(read(f"run_dir={quoted(text)}")) == text
    assert path_in(read(f"resume={text}")) == text
    changed = apply(OmegaConf.create({"root": None, "base": {"cache": "x"}}), [f"root={text}", f"base.cache={text}"])
    assert OmegaConf.to_container(changed) == {"root": text, "base": {"cache": text}}
    change = read(read(f"data.root={text}").input_line)  # what Hydra gets
    assert (change.key_or_group, change.value()) == ("data.root", text)


def test_a_new_run_has_its_paths_as_they_are():
    config = compose_recipe("baseline/toy", ["data.cache_dir=a=b, c's é", "run_dir='it\\'s'", "init.path=null"])
    assert (config.data.cache_dir, config.run_dir, config.init.path) == ("a=b, c's é", "it's", None)


def test_home_is_put_where_a_path_begins_with_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/people/ada")
    assert path_in(read("run_dir=~/runs")) == path_in(read("run_dir='~/runs'")) == "/people/ada/runs"
    (tmp_path / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - /baseline/toy\n  - _self_\ndata: {cache_dir: ~/speech}\n"
    )
    assert compose_recipe("mine", [], str(tmp_path)).data.cache_dir == "/people/ada/speech"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run_dir=", "run_dir= needs a path, got nothing"),
        ("data.root=''", "data.root= needs a path, got nothing"),
        ("+data.cache= ", r"data.cache= needs a path, got nothing"),
        ("run_dir=" + "n" * 300, "with 300 in a name"),
        ("run_dir='a'\u2028", "the override .* cannot be read: token recognition error"),  # Hydra knows fewer blanks
        ("run_dir=a\0", r"run_dir= must be a path without null characters, got 'a\\x00'"),
    ],
)
def test_a_value_that_is_no_path(text, message):
    with pytest.raises(StabError, match=message):
        read(text)


def test_a_folder_has_a_name_of_its_own():
    with pytest.raises(StabError, match=r"run_dir= must be the name of a folder itself, without \$\{...\}"):
        path_in(read("run_dir=${seed}"))
