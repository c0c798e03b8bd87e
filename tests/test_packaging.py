"""What is shipped: a wheel that is whole, and an environment whose every version is pinned."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from stubs import defined, used

ROOT = Path(__file__).resolve().parents[1]
PRETENDED = "7.8.9"  # the copy that is built has no git; tests/test_version.py has all others


def run(*command, **kwargs):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that the checkout is left clean and an old build/ adds nothing."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("asteroid_stab", "conf", "recipes"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / file, source)
    out = tmp_path_factory.mktemp("dist")
    env = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ASTEROID_STAB": PRETENDED}
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, env=env)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def shipped():
    """Where each file of the tree that a user needs stands in the wheel."""
    kinds = {
        ("asteroid_stab", "asteroid_stab"): {".py", ".typed", ".html", ".j2", ".css", ".js", ".zlib"},
        ("conf", "asteroid_stab/conf"): {".py", ".yaml"},
        ("recipes", "asteroid_stab/recipes"): {".py", ".yaml", ".md"},
    }
    for (folder, place), suffixes in kinds.items():
        for file in sorted((ROOT / folder).rglob("*")):
            if (file.suffix in suffixes or file.name == "py.typed") and "__pycache__" not in file.parts:
                yield f"{place}/{file.relative_to(ROOT / folder).as_posix()}"


def test_wheel_holds_every_file(names):
    wanted = set(shipped())
    assert any(name.endswith("recipes/baseline/toy.yaml") for name in wanted)
    assert "asteroid_stab/py.typed" in wanted
    assert sorted(wanted - names) == []


def test_wheel_holds_nothing_else(names):
    own = {name for name in names if ".dist-info/" not in name}
    assert sorted(own - set(shipped())) == []


def test_wheel_has_its_papers(wheel, names):
    with zipfile.ZipFile(wheel) as archive:
        scripts = next(name for name in names if name.endswith("entry_points.txt"))
        assert "asteroid-stab = asteroid_stab.cli.main:main" in archive.read(scripts).decode()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert "License-Expression: MIT" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert f"Version: {PRETENDED}\n" in metadata


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


@pytest.fixture
def env(site):
    """First on the path, the wheel's package comes before the checkout's, which an editable install finds last."""
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_installed_wheel_lists_and_composes_recipes(site, env, tmp_path):
    where = run(sys.executable, "-c", "import asteroid_stab.cli.main as m; print(m.__file__)", cwd=tmp_path, env=env)
    assert Path(where.strip()).is_relative_to(site)
    stated = run(sys.executable, "-m", "asteroid_stab.cli.main", "--version", cwd=tmp_path, env=env)
    assert stated.strip() == PRETENDED
    listed = run(sys.executable, "-m", "asteroid_stab.cli.main", "recipes", cwd=tmp_path, env=env)
    recipes = {f.relative_to(ROOT / "recipes").with_suffix("").as_posix() for f in ROOT.glob("recipes/**/*.yaml")}
    assert {line.split()[0] for line in listed.splitlines()} == recipes
    train = [sys.executable, "-m", "asteroid_stab.cli.main", "train", "baseline/toy", "--print-config"]
    assert "asteroid_stab.models.conv_tasnet" in run(*train, cwd=tmp_path, env=env)


def test_installed_wheel_says_where_the_benchmarks_are(env, tmp_path):
    bench = [sys.executable, "-m", "asteroid_stab.cli.main", "bench", "pit"]
    done = subprocess.run(bench, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "asteroid-stab bench: error: the benchmarks are in the folder bench of a checkout, and this package was "
        "installed without it: clone the repository and run python -m bench there\n"
    )


def pins(file="constraints.txt"):
    """Name, version and marker of every line of a file of pins."""
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r'([a-z0-9-]+)==([^;\s]+)(; python_version (?:<|>=) "3\.1[12]")?', line)
            assert match, f"{file}: {line!r} pins nothing"
            yield match.groups()


@pytest.mark.parametrize("file", [f"constraints{of}.txt" for of in ("", "-toolkits", "-docs", "-release")])
def test_constraints_pin_each_package_once(file):
    seen = [(name, marker) for name, _, marker in pins(file)]
    assert len(seen) == len(set(seen))
    marked = [name for name, marker in seen if marker]
    assert sorted(marked[::2]) == sorted(marked[1::2]), "a version for old Pythons needs one for the others"
    assert not {name for name, marker in seen if not marker} & set(marked)


def test_constraints_cover_this_environment():
    pinned = {name for name, _, _ in pins()}
    site = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]  # not what setuptools carries inside
    installed = {re.sub(r"[-_.]+", "-", d.name).lower() for d in importlib.metadata.distributions(path=site)}
    assert "torch" in installed
    assert sorted(installed - pinned - {"pip", "asteroid-stab"}) == []


def test_tested_pair_is_pinned():
    versions = {name: version for name, version, _ in pins()}
    assert versions["torch"].startswith("2.11.")
    assert versions["torchaudio"].startswith("2.11.")
    assert int(versions["setuptools"].split(".")[0]) < 82


def test_toolkits_are_pinned_beside_the_environment():
    """A package that both files pin is there in two versions, of which the toolkits' hides the other."""
    both = {name for name, _, _ in pins("constraints-toolkits.txt")} & {name for name, _, _ in pins()}
    both.remove("humanfriendly")  # of one version; the environment has it on Python 3.10 alone, for ONNX Runtime
    assert both == {"torchmetrics"}


@pytest.mark.toolkits
def test_environment_of_toolkits_is_as_pinned():
    """Its own folder has each pin at its version, and nothing else."""
    old = {"<": sys.version_info < (3, 12), ">=": sys.version_info >= (3, 12)}
    wanted = {
        name: version
        for name, version, marker in pins("constraints-toolkits.txt")
        if not marker or old[re.search("<|>=", marker)[0]]
    }
    site = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found = {re.sub(r"[-_.]+", "-", d.name).lower(): d.version for d in importlib.metadata.distributions(path=site)}
    assert {name: version for name, version in found.items() if name not in ("pip", "setuptools")} == wanted


@pytest.mark.slow
def test_environment_on_another_one(tmp_path):
    """``.ci/venv FOLDER --on BASE FILE``: sees BASE, has the packages of FILE, and is made again when FILE changes."""
    about, wheel = "tiny_extra-1.5.dist-info", tmp_path / "tiny_extra-1.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-extra\nVersion: 1.5\nRequires-Dist: no-such\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    pins_of_it = tmp_path / "extra.txt"
    pins_of_it.write_text(f"--no-index\n{wheel}\n")
    folder = tmp_path / "on-it"
    make = [ROOT / ".ci" / "venv", folder, "--on", sys.prefix, pins_of_it]
    assert f"making {folder} on {sys.prefix}" in run(*make)
    look = "import sys, asteroid_stab, torch, importlib.metadata as m; print(sys.prefix, m.version('tiny-extra'))"
    assert run(folder / "bin" / "python", "-c", look).split() == [str(folder), "1.5"]
    assert run(*make) == ""
    pins_of_it.write_text("# nothing\n")
    assert f"making {folder} on {sys.prefix}" in run(*make)
    gone = subprocess.run([folder / "bin" / "python", "-c", look], capture_output=True, text=True, check=False)
    assert "PackageNotFoundError" in gone.stderr


# --- beside packages that Asteroid's metadata rule out ---


def test_asteroid_never_imports_torchmetrics():
    """On which the advice of docs/getting_started.md rests."""
    files = sorted(Path(importlib.util.find_spec("asteroid").submodule_search_locations[0]).rglob("*.py"))
    assert len(files) > 50
    assert not [file for file in files if "torchmetrics" in file.read_text(encoding="utf-8")]
    assert [line for line in importlib.metadata.requires("asteroid") if line.startswith("torchmetrics")]


@pytest.mark.toolkits
def test_it_runs_beside_torchmetrics_1_without_a_warning(tmp_path):
    code = (
        "import torchmetrics, speechbrain, accelerate, asteroid_stab.engine, asteroid_stab.callbacks, "
        "asteroid_stab.integrations.speechbrain, asteroid_stab.integrations.accelerate; print(torchmetrics.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", code], capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(".")[0], done.stderr) == ("1", "")
    limits = [
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
        f"run_dir={tmp_path}/run",
    ]
    train = [
        sys.executable,
        "-W",
        "always::UserWarning",
        "-m",
        "asteroid_stab.cli.main",
        "train",
        "baseline/toy",
        *limits,
    ]
    done = subprocess.run(train, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert "Warning" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def registry():
    """Skips where pip reaches no registry."""
    ask = [sys.executable, "-m", "pip", "install", "--dry-run", "-q", "--ignore-installed", "--no-deps"]
    done = subprocess.run([*ask, "asteroid==0.7.0"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip reaches no registry: {done.stderr.strip().splitlines()[-1]}")


@pytest.mark.toolkits
def test_pip_finds_no_versions_beside_torchmetrics_1(registry):
    """Else the advice of docs/getting_started.md is of no use any more."""
    resolve = [sys.executable, "-m", "pip", "install", "--dry-run", "-q", "--ignore-installed"]
    done = subprocess.run([*resolve, "asteroid==0.7.0", "torchmetrics>=1"], capture_output=True, text=True, check=False)
    assert "conflicting dependencies" in done.stderr


@pytest.fixture(scope="module")
def uv_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("uv")


@pytest.mark.toolkits
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_uv_resolves_all_with_the_overrides_of_readme(registry, uv_cache, tmp_path, python):
    (overrides,) = re.findall(
        r"^override-dependencies = \[.*?\]", (ROOT / "docs" / "getting_started.md").read_text(), re.MULTILINE
    )
    wanted = [f"asteroid-stab @ {ROOT.as_uri()}", "espnet>=202511", "pyannote-audio>=4", "torchmetrics>=1"]
    project = f'[project]\nname = "mine"\nversion = "1"\ndependencies = {wanted}\n'
    file = tmp_path / "pyproject.toml"
    uv = [Path(sys.executable).parent / "uv", "pip", "compile", "-q", "--no-annotate", "--python-version", python, file]
    env = {**os.environ, "UV_CACHE_DIR": str(uv_cache)}
    file.write_text(project)
    without = subprocess.run([*map(str, uv)], capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    if "Failed to fetch" in without.stderr or "error sending request" in without.stderr:
        pytest.skip(f"uv reaches no registry: {without.stderr.strip().splitlines()[-1]}")
    assert "torchmetrics" in without.stderr
    assert without.returncode == 1
    file.write_text(f"{project}[tool.uv]\n{overrides}\n")
    found = run(*uv, env=env, cwd=tmp_path)
    assert {"asteroid", "asteroid-stab", "espnet", "pyannote-audio"} <= {
        line.split("==")[0].split(" ")[0] for line in found.splitlines()
    }


OLDEST = (3, 10)


def newer(tree):
    """Names of the standard library that a source uses and the oldest Python does not have."""
    for module, name in used(tree):
        known = defined(module, version=(3, 13))
        if known and name in known and name not in (defined(module, version=OLDEST) or ()):
            yield f"{module}.{name}"
    for module in {module for module, _ in used(tree)} & {"tomllib"}:
        yield module


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os, datetime as d\nos.replace, d.datetime, d.UTC", ["datetime.UTC"]),
        ("from enum import Enum, StrEnum", ["enum.StrEnum"]),
        ("import itertools\nitertools.batched([], 2)", ["itertools.batched"]),
        ("from contextlib import suppress\nimport torch\ntorch.chdir", []),
        ("import tomllib\ntomllib.loads", ["tomllib"]),
    ],
)
def test_newer_names_are_seen(source, names):
    assert [*newer(ast.parse(source))] == names


def test_the_sources_are_of_the_oldest_python():
    """Its grammar, and its standard library as far as a name is used of a module."""
    found = {}
    for file in sorted([*(ROOT / "asteroid_stab").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]):
        tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=OLDEST)
        found |= {f"{file.name}: {name}": name for name in newer(tree)}
    assert not found


def test_the_oldest_python_is_the_declared_one():
    oldest = ".".join(map(str, OLDEST))
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={oldest}"' in text
    assert f'target-version = "py{oldest.replace(".", "")}"' in text
