"""The runs of a study: their words, their order, and what is refused before anything is trained."""

from pathlib import Path

import pytest
from studies import runs_in

from asteroid_stab.errors import StabError
from asteroid_stab.run.study_plan import check_configs, plan
from asteroid_stab.run.study_rows import read_rows

TWO = "one dsd_lo/toy stabilizer=[dsd] optim.lr=0.1\ntwo ssl/x init.path={out}/one/{seed}\n"


@pytest.mark.parametrize("out", ["o", "a b, c=d 'é' & ~"])
def test_each_row_and_seed_is_asked_for_in_one_way(out, tmp_path):
    """Whether a run has started is the program's to know: a second call says the same words."""
    (tmp_path / "rows").write_text(TWO)
    runs = plan(read_rows([tmp_path / "rows"]), [1, 2], Path(out), ["data.root=a b", "trainer.max_epochs=3"])
    asked = [words for run in runs for words in (run.training, run.evaluation)]
    wanted = []
    for seed in (1, 2):
        for row, own in (("one", ["stabilizer=[dsd]", "optim.lr=0.1"]), ("two", [f"init.path={out}/one/{seed}"])):
            recipe, run = {"one": "dsd_lo/toy", "two": "ssl/x"}[row], f"{out}/{row}/{seed}"
            given = [f"seed={seed}", *own, "data.root=a b", "trainer.max_epochs=3"]
            wanted.append(["train", recipe, f"run_dir={run}", *given, "--or-resume"])
            wanted.append(["evaluate", run, "--metrics", "si_sdr", "--n-jobs", "1"])
    assert asked == wanted
    assert [run.name for run in runs] == ["one/1", "two/1", "one/2", "two/2"]
    assert [run.parents for run in runs] == [(), (("one", 1),), (), (("one", 2),)]


def test_a_folder_of_own_recipes_is_passed_on(tmp_path):
    (tmp_path / "rows").write_text(TWO)
    [run, *_] = plan(read_rows([tmp_path / "rows"]), [1], Path("o"), config_dir=Path("own"))
    assert run.training[-2:] == run.evaluation[-2:] == ["--config-dir", "own"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a x/y init.path={out}/b/{seed}\nb x/y init.path={out}/a/{seed}", r":1: rows that start from each other: "),
        ("a x/y init.path={out}/a/{seed}", r":1: rows that start from each other: a, a$"),
        ("a x/y init.path={out}/pat/{seed}\npit x/y", r":1: row 'a': it starts from 'pat', which is no row \(.*'pit'"),
        ("a x/y init.path={out}/pit/3\npit x/y", r":1: row 'a': it starts from pit/3: add 3 to --seeds$"),
    ],
)
def test_rows_that_cannot_start_are_refused(tmp_path, text, message):
    with pytest.raises(StabError, match=message):
        runs_in(tmp_path, text)


def test_overrides_of_all_rows_count_as_their_own(tmp_path):
    with pytest.raises(StabError, match="rows that start from each other: a, a"):
        runs_in(tmp_path, "a x/y", overrides=["init.path={out}/a/{seed}"])
    with pytest.raises(StabError, match="an override must be KEY=VALUE, got 'b'"):
        runs_in(tmp_path, "a x/y", overrides=["b"])


def test_a_run_that_is_there_can_be_started_from(tmp_path):
    for run in ("old/1", "old/2", "pit/3"):
        (tmp_path / "s" / run).mkdir(parents=True)
        (tmp_path / "s" / run / "config.yaml").write_text("recipe: x/y")
    runs = runs_in(tmp_path, "a x/y init.path={out}/old/{seed}\nb x/y init.path={out}/pit/3\npit x/y")
    assert [run.parents for run in runs[:2]] == [(("old", 1),), (("pit", 3),)]


def test_a_folder_that_cannot_be_named_to_a_training_is_refused(tmp_path):
    with pytest.raises(StabError, match=r"--out must be the name of a folder itself, without \${...}, got '\${x}'"):
        plan([], [1], Path("${x}"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("bad bassline/toy", r":2: row 'bad': no recipe 'bassline/toy' \(did you mean 'baseline/toy'\?\)"),
        ("bad baseline/toy optim.lrr=1", r":2: row 'bad': the config has no key 'optim.lrr' \(did you mean 'optim.lr'"),
        ("bad lir/toy data.noise_root=${oc.env:NO_SUCH}", r":2: row 'bad': .*'NO_SUCH' not found"),
    ],
)
def test_a_recipe_that_does_not_compose_is_refused_by_its_line(tmp_path, monkeypatch, row, message):
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(StabError, match=message):
        check_configs(runs_in(tmp_path, f"good baseline/toy\n{row}"))


def test_a_variable_of_the_environment_is_a_value_of_a_row(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOISE", "esc")
    check_configs(runs_in(tmp_path, "a lir/toy data.noise_root=${oc.env:NOISE}", seeds=[1]))
    check_configs(runs_in(tmp_path, "a attention_pit/toy loss=sinkpit", seeds=[1]))
    assert capsys.readouterr().err == ""  # its notes come with the training
