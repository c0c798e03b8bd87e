"""The program that makes a release (``.ci/release.py``), and the files that belong to one."""

import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the changelog's headings ---

RELEASED = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-02\n\n- x\n\n## [1.1.0] - 2026-01-01\n"


def test_release_has_its_own_heading(release):
    assert release.check_heading(RELEASED, "1.2.0") == "[1.2.0] - 2026-01-02"
    assert release.check_heading(RELEASED.replace("## [Unreleased]\n\n", ""), "1.2.0") == "[1.2.0] - 2026-01-02"
    assert release.check_heading(RELEASED, "1.2.1.dev4+gabc") == "[Unreleased]"


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        (RELEASED, "1.3.0", r"needs a heading '## \[1.3.0\] - YYYY-MM-DD' for the tag v1.3.0"),
        (RELEASED.replace(" - 2026-01-02", ""), "1.2.0", r"needs a heading '## \[1.2.0\] - YYYY"),
        (RELEASED.replace("[Unreleased]\n", "[Unreleased]\n\n- y\n"), "1.2.0", r"changes above '## \[1.2.0\] - 2026"),
        (RELEASED, "1.1.0", r"changes above '## \[1.1.0\] - 2026-01-01', which the tag v1.1.0"),
        (RELEASED.replace("## [Unreleased]\n\n", ""), "1.2.1.dev4", r"1.2.1.dev4 is no release, but CHANGELOG.md does"),
    ],
)
def test_heading_that_does_not_fit_is_refused(release, text, version, message):
    with pytest.raises(release.Failure, match=message):
        release.check_heading(text, version)


def test_the_changelog_of_today_is_headed(release):
    """For a commit between two releases; ``make release`` checks the tagged one."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (.+)$", text, re.MULTILINE)[1]
    released = re.fullmatch(r"\[(\d.+)\] - .*", first)
    assert release.check_heading(text, released[1] if released else "0.1.dev1") == first


# --- contents ---

SDIST = {"PKG-INFO": b"", "asteroid_stab/a.py": b"1", "conf/a.yaml": b"", "recipes/x/README.md": b""}
WHEEL = {
    "asteroid_stab/a.py": b"1",
    "asteroid_stab/conf/a.yaml": b"",
    "asteroid_stab/recipes/x/README.md": b"",
    "asteroid_stab-1.dist-info/RECORD": b"a",
}


def test_contents_as_they_should_be(release):
    release.check_contents(SDIST, WHEEL)
    release.check_same(WHEEL, {**WHEEL, "asteroid_stab-1.dist-info/RECORD": b"in another order"})


@pytest.mark.parametrize(
    ("sdist", "wheel", "message"),
    [
        ({"tests/test_a.py": b""}, {}, "does not belong into a release: tests"),
        ({}, {"bench/a.py": b""}, "does not belong into a release: bench"),
        ({"conf/b.yaml": b""}, {}, "the wheel lacks conf/b.yaml"),
        ({"recipes/y/README.md": b""}, {}, "the wheel lacks recipes/y/README.md"),
    ],
)
def test_contents_that_do_not_belong_are_refused(release, sdist, wheel, message):
    with pytest.raises(release.Failure, match=message):
        release.check_contents({**SDIST, **sdist}, {**WHEEL, **wheel})


def test_release_without_any_recipe_is_refused(release):
    with pytest.raises(release.Failure, match="the wheel lacks all of recipes/"):
        release.check_contents({k: v for k, v in SDIST.items() if "recipes" not in k}, WHEEL)


def test_another_wheel_from_the_sdist_is_refused(release):
    with pytest.raises(release.Failure, match="is not the wheel of the checkout: asteroid_stab/a.py differ"):
        release.check_same(WHEEL, {**WHEEL, "asteroid_stab/a.py": b"2"})


def test_files_of_archives(release, tmp_path):
    with zipfile.ZipFile(tmp_path / "it.whl", "w") as wheel:
        wheel.writestr("asteroid_stab/a.py", "1")
    (tmp_path / "a.py").write_text("1")
    with tarfile.open(tmp_path / "it.tar.gz", "w:gz") as sdist:
        sdist.add(tmp_path / "a.py", "it-1.0/asteroid_stab/a.py")
    assert release.contents(tmp_path / "it.whl") == {"asteroid_stab/a.py": b"1"}
    assert release.contents(tmp_path / "it.tar.gz") == {"asteroid_stab/a.py": b"1"}


# --- environments ---


def test_interpreter_of_this_version_is_found_and_another_is_not(release, tmp_path, monkeypatch):
    here = "{}.{}".format(*sys.version_info[:2])
    fake = tmp_path / "bin" / "python3.99"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')  # of a version that it is not
    fake.chmod(0o755)
    right = tmp_path / "pyenv" / "versions" / f"{here}.1" / "bin" / "python"
    right.parent.mkdir(parents=True)
    right.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(fake.parent))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert release.interpreter(here) == right
    assert release.interpreter("3.99") is None


@pytest.fixture
def built(release, monkeypatch, tmp_path):
    """The program with a wheel that was built before, in a checkout of nothing but a changelog."""
    (tmp_path / "CHANGELOG.md").write_text(RELEASED)
    wheel = tmp_path / "asteroid_stab-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("asteroid_stab-1.2.0.dist-info/METADATA", "Version: 1.2.0\nProvides-Extra: toy\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "build", lambda log: (tmp_path / "asteroid_stab-1.2.0.tar.gz", wheel))
    return release


def test_python_that_is_not_there_is_named_and_nothing_passes(built, monkeypatch, capsys):
    monkeypatch.setattr(built, "interpreter", lambda version: None)
    assert built.main(["3.98", "3.99"]) == 1
    out = capsys.readouterr().out
    assert "skipped Python 3.98: there is no such Python on the path or among pyenv's versions" in out
    assert "1.2.0: 0 environments passed, 2 environments skipped, 0 environments FAILED" in out


def test_release_that_is_tried_nowhere_is_built_and_checked(built, capsys):
    assert built.main([]) == 0
    out = capsys.readouterr().out
    assert "1.2.0: 0 environments passed, 0 environments skipped, 0 environments FAILED" in out


@pytest.mark.parametrize("failing", [False, True])
def test_environments_are_tried_and_counted(built, monkeypatch, capsys, failing):
    def tried(wheel, python, log, first):
        if failing and not first:
            raise built.Failure("the demo has written no run/report.html")
        return "torch 2.0, CUDA 13.0; extras toy"

    monkeypatch.setattr(built, "interpreter", lambda version: Path(sys.executable))
    monkeypatch.setattr(built, "try_wheel", tried)
    assert built.main(["3.10", "--cpu", "torch==2.13.0"]) == (1 if failing else 0)
    out = capsys.readouterr().out
    assert ("FAILED Python 3.10: the demo has written no run/report.html (all output:" in out) == failing
    assert ("passed Python 3.10: torch 2.0, CUDA 13.0; extras toy" in out) != failing
    assert "CPU-only: torch==2.13.0 of this registry is built for CUDA" in out, "it is no CPU-only one"


def test_release_whose_changelog_does_not_fit_ends_with_a_message(built, tmp_path, capsys):
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n")
    assert built.main(["3.10"]) == 1
    assert "release: CHANGELOG.md needs a heading '## [1.2.0]" in capsys.readouterr().err


def test_command_that_fails_shows_the_end_of_its_output(release, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(release.Failure, match=r"ended with 3:\n  line 29"):
        release.run(["sh", "-c", "seq -f 'line %g' 43; exit 3"], log)
    assert "line 1\n" in log.read_text()
    assert release.run(["echo", "well"]) == "well\n"


# --- files that belong to a release ---


@pytest.mark.release
def test_citation_is_valid():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format"]
    subprocess.run([*check, "CITATION.cff"], cwd=ROOT, check=True)


def test_citation_names_the_papers_as_their_cards_do():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == "MIT"
    assert not {"version", "date-released"} & set(citation), "git states them"
    cards = set()
    for paper in citation["references"]:
        card = ROOT / "recipes" / paper["notes"].removeprefix("recipes: ") / "README.md"
        text = " ".join(card.read_text(encoding="utf-8").split())
        names = ", ".join(author["family-names"] for author in paper["authors"])
        assert f'{names}, "{paper["title"]}", '.lower() in text.lower()
        assert f"{paper['collection-title']}" in text
        assert paper["url"] in text
        cards.add(card.parent.name)
    assert cards == {"dsd_lo", "ssl", "reweighting", "lir", "attention_pit"}


# --- GitHub's workflows ---

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.release
def test_workflows_are_valid():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout"):
        subprocess.run([*check, schema, *map(str, WORKFLOWS)], cwd=ROOT, check=True)


@pytest.mark.release
def test_workflow_with_a_fault_is_seen(tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(broken)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run-on" in done.stdout


def test_workflows_call_make_and_nothing_else():
    assert [file.name for file in WORKFLOWS] == ["docs.yml", "release.yml", "tests.yml"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for file in WORKFLOWS:
        workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
        commands = [step["run"] for step in steps(workflow) if "run" in step]
        assert commands
        for command in commands:
            program, target = command.split()
            assert program == "make"
            assert target in targets
        checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout")]
        assert all(step["with"]["fetch-depth"] == 0 for step in checkouts), "without tags there is no version"


def test_pythons_are_the_same_everywhere():
    """In the workflows, the classifiers, the Makefile and the declared oldest one."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pythons = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert len(pythons) > 2
    assert f'requires-python = ">={pythons[0]}"' in project
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    assert tests["jobs"]["tests"]["strategy"]["matrix"]["python"] == pythons
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    (made,) = [step["with"]["python-version"] for step in steps(release) if "setup-python" in step.get("uses", "")]
    assert sorted(made.split()) == sorted(pythons)
    assert made.split()[-1] == "3.11", "the last one is the one that runs make"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^PYTHONS \?= (.+)$", makefile, re.MULTILINE)[1].split() == pythons
