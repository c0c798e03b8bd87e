"""Builds sdist and wheel into dist/, checks them, and tries the wheel in clean environments, which it makes.

    .venv-release/bin/python .ci/release.py [PYTHON]... [--cpu REQUIREMENT]

A PYTHON is a version (3.12); one that is not on this machine is skipped, and the summary says so. Each environment gets
the wheel as a user's would, without constraints, with every extra, and trains, evaluates and reports for a minute.
--cpu tries, on the Python that runs this program, a torch without CUDA (torch==2.13.0) that is installed first.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IN_SDIST = {
    *("asteroid_stab", "conf", "recipes", "asteroid_stab.egg-info"),
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"),
}
# What a user's first minutes are, with a training of a few batches; {python} is the environment's folder of programs.
DEMO = (
    "asteroid-stab recipes",
    "asteroid-stab train baseline/toy run_dir=run trainer.max_epochs=1 trainer.limit_train_batches=4 "
    "trainer.limit_val_batches=2",
    "asteroid-stab evaluate run --limit 4",
    "asteroid-stab report run",
)
# Prints the package's file, its version, torch's version and CUDA, and what is on the path.
LOOK = (
    "import sys, asteroid_stab as a, torch; "
    "print(a.__file__, a.__version__, torch.__version__, torch.version.cuda, *sys.path, sep='|')"
)
# Imports every module of the packages that an extra requires; this package first, since it repairs torchaudio beside a
# CPU-only torch.
IMPORT_EXTRA = """
import importlib, re, sys
from importlib.metadata import distribution, requires
from asteroid_stab.required import import_names
marker = re.compile(r"extra *== *['\\"]" + re.escape(sys.argv[1]) + r"['\\"]")
wanted = {re.match("[A-Za-z0-9._-]+", line)[0] for line in requires("asteroid-stab") if marker.search(line)}
names = sorted(name for one in wanted for name in import_names(distribution(one)) if not name.startswith("_"))
for name in names:
    importlib.import_module(name)
print(len(wanted), "packages:", *names)
"""


class Failure(Exception):
    """Something that a release must not have."""


def run(command: Sequence[object], log: Path | None = None, **kwargs: object) -> str:
    """Runs a command and returns its output, which it adds to a file.

    Raises:
        Failure: the command fails; its message has the last lines of the output.
    """
    done = subprocess.run(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kwargs
    )
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(map(str, command))}\n{done.stdout}\n")
    if done.returncode:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-15:])
        raise Failure(f"{' '.join(map(str, command))} ended with {done.returncode}:\n  {tail}")
    return done.stdout


def check_heading(changelog: str, version: str) -> str:
    """Returns the heading of the changelog that a version belongs to: its own, or of a version between tags the first.

    Raises:
        Failure: a release has no heading of its own, or one without its date, or changes stand above it.
    """
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    if "dev" in version or version == "0.0":
        if headings[:1] != ["[Unreleased]"]:
            raise Failure(f"{version} is no release, but CHANGELOG.md does not begin with '## [Unreleased]'")
        return headings[0]
    own = [heading for heading in headings if heading.startswith(f"[{version}]")]
    if not own or not re.fullmatch(r"\[.+\] - \d{4}-\d\d-\d\d", own[0]):
        raise Failure(f"CHANGELOG.md needs a heading '## [{version}] - YYYY-MM-DD' for the tag v{version}")
    above = changelog[: changelog.index(f"## {own[0]}")].partition("## [Unreleased]")[2]
    if above.strip() or (headings[0] != own[0] and headings[:2] != ["[Unreleased]", own[0]]):
        raise Failure(f"CHANGELOG.md has changes above '## {own[0]}', which the tag v{version} does not have")
    return own[0]


def contents(archive: Path) -> dict[str, bytes]:
    """Returns the files of a wheel or an sdist by name; an sdist's without its folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(archive) as sdist:
        files = [member for member in sdist.getmembers() if member.isfile()]
        return {one.name.partition("/")[2]: file.read() for one in files if (file := sdist.extractfile(one))}


def tops(names: Iterable[str]) -> set[str]:
    return {name.partition("/")[0] for name in names}


def check_contents(sdist: Mapping[str, bytes], wheel: Mapping[str, bytes]) -> None:
    """Checks that both hold the package with its conf and recipes, and neither tests nor benchmarks.

    Raises:
        Failure: something is missing or does not belong there.
    """
    about = {name for name in tops(wheel) if name.endswith(".dist-info")}
    extra = (tops(sdist) - IN_SDIST) | (tops(wheel) - about - {"asteroid_stab"})
    if extra:
        raise Failure(f"does not belong into a release: {', '.join(sorted(extra))}")
    for folder in ("conf", "recipes"):
        wanted = {name for name in sdist if name.startswith(f"{folder}/") and name.endswith((".yaml", ".md"))}
        missing = sorted(name for name in wanted if f"asteroid_stab/{name}" not in wheel)
        if missing or not wanted:
            raise Failure(f"the wheel lacks {', '.join(missing) or f'all of {folder}/'}")


def check_same(direct: Mapping[str, bytes], of_sdist: Mapping[str, bytes]) -> None:
    """Checks that the wheel of the checkout and the wheel of the sdist hold the same files.

    Raises:
        Failure: they differ.
    """
    differ = sorted(
        name
        for name in {*direct, *of_sdist}
        if direct.get(name) != of_sdist.get(name) and not name.endswith("/RECORD")  # its order may differ
    )
    if differ:
        raise Failure(f"the wheel of the sdist is not the wheel of the checkout: {', '.join(differ)} differ")


def build(log: Path) -> tuple[Path, Path]:
    """Builds sdist and wheel into dist/ and checks them; returns their files.

    Raises:
        Failure: they cannot be built or are not as they should be.
    """
    dist, isolation = ROOT / "dist", []
    for folder in ("build", "dist"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    log.parent.mkdir(parents=True)
    try:
        run([sys.executable, "-m", "build", "--outdir", dist, ROOT], log)
    except Failure as failure:
        if "No matching distribution" not in str(failure):
            raise
        print("no registry is reached: builds with the setuptools that is installed, not in an isolated environment")
        isolation = ["--no-isolation"]
        run([sys.executable, "-m", "build", *isolation, "--outdir", dist, ROOT], log)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    with tempfile.TemporaryDirectory() as other:
        run([sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", other, ROOT], log)
        check_same(contents(Path(other) / wheel.name), contents(wheel))
    check_contents(contents(sdist), contents(wheel))
    run([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel], log)
    return sdist, wheel


def interpreter(version: str) -> Path | None:
    """Returns a Python of a version that can make environments: on the path, or one of pyenv's; None without one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    for candidate in [*([on_path] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]:
        code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return Path(candidate)
    return None


def try_wheel(wheel: Path, python: Path, log: Path, first: Sequence[str] = ()) -> str:
    """Installs a wheel in a new environment, without and with each extra, and runs the demo; returns what it found.

    Args:
        wheel: the wheel.
        python: the interpreter of the environment.
        log: the file for all output.
        first: requirements that are installed before the wheel.

    Raises:
        Failure: something of it fails.
    """
    extras = re.findall(r"^Provides-Extra: (.+)$", _metadata(wheel), re.MULTILINE)
    version = re.search(r"^Version: (.+)$", _metadata(wheel), re.MULTILINE)[1]  # type: ignore[index]
    foreign = ("PYTHON", "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "VIRTUAL_ENV", "ASTEROID_STAB")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    with tempfile.TemporaryDirectory(prefix="asteroid-stab-release-") as folder:
        place, programs = Path(folder), Path(folder) / "env" / "bin"
        env |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "ASTEROID_STAB_CACHE": f"{folder}/cache"}
        env |= {"XDG_CONFIG_HOME": f"{folder}/config"}

        def call(*command: object) -> str:
            return run(command, log, cwd=place, env=env)

        def install(*what: str) -> None:
            call(programs / "python", "-m", "pip", "install", "--disable-pip-version-check", *what)

        run([python, "-m", "venv", place / "env"], log, env=env)
        if first:
            install(*first)
        install(f"{wheel}[toy]")
        file, found, torch, cuda, *path = call(programs / "python", "-c", LOOK).strip().splitlines()[-1].split("|")
        if not file.startswith(folder) or any(str(ROOT) in entry for entry in path):
            raise Failure(f"asteroid_stab came from {file}, with {path} on the path, not from the new environment")
        if found != version:
            raise Failure(f"the installed package states the version {found}, its metadata {version}")
        for line in DEMO:
            program, *words = line.split()
            call(programs / program, *words)
        if not (place / "run" / "report.html").is_file():
            raise Failure("the demo has written no run/report.html")
        for extra in extras:
            install(f"{wheel}[{extra}]")
            call(programs / "python", "-c", IMPORT_EXTRA, extra)
        call(programs / "python", "-m", "pip", "check")
    return f"torch {torch}, {f'CUDA {cuda}' if cuda != 'None' else 'without CUDA'}; extras {', '.join(extras)}"


def _metadata(wheel: Path) -> str:
    files = contents(wheel)
    return next(text for name, text in files.items() if name.endswith(".dist-info/METADATA")).decode()


def main(argv: Sequence[str] | None = None) -> int:
    """Builds, checks and tries a release; returns 1 if something failed, or no environment could be tried."""
    parser = argparse.ArgumentParser(description="Builds a release, checks it, and tries it in clean environments.")
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="versions to try the wheel on, such as 3.12")
    parser.add_argument("--cpu", metavar="REQUIREMENT", help="a torch without CUDA, such as torch==2.13.0")
    options = parser.parse_args(argv)
    log = ROOT / "build" / "release" / "build.log"
    try:
        sdist, wheel = build(log)
        version = re.search(r"^Version: (.+)$", _metadata(wheel), re.MULTILINE)[1]  # type: ignore[index]
        heading = check_heading((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except Failure as failure:
        print(f"release: {failure}", file=sys.stderr)
        return 1
    print(f"built {sdist.name} and {wheel.name} ({heading} in CHANGELOG.md)", flush=True)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    plans: list[tuple[str, Path | None, list[str]]] = [
        (f"Python {version}", interpreter(version), []) for version in options.pythons
    ]
    if options.cpu:
        plans.append((f"Python {here}, CPU-only", interpreter(here), [options.cpu]))
    results = []
    for name, python, first in plans:
        if python is None:
            results.append(("skipped", f"{name}: there is no such Python on the path or among pyenv's versions"))
        else:
            file = log.parent / f"{re.sub('[^0-9a-zA-Z.]+', '-', name)}.log"
            try:
                found = try_wheel(wheel, python, file, first)
                if first and "without CUDA" not in found:
                    results.append(("skipped", f"{name}: {first[0]} of this registry is built for CUDA ({found})"))
                else:
                    results.append(("passed", f"{name}: {found}"))
            except Failure as failure:
                results.append(("FAILED", f"{name}: {failure} (all output: {file.relative_to(ROOT)})"))
        print(*results[-1], flush=True)
    counts = {word: sum(result == word for result, _ in results) for word in ("passed", "skipped", "FAILED")}
    print(f"{version}: {', '.join(f'{count} environments {word}' for word, count in counts.items())}")
    return 1 if counts["FAILED"] or (plans and not counts["passed"]) else 0


if __name__ == "__main__":
    sys.exit(main())
