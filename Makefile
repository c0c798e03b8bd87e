# Everything runs in .venv, which .ci/venv makes from pyproject.toml and constraints.txt on first use; tests of other
# toolkits run in .venv-toolkits, which sees .venv and has the packages of constraints-toolkits.txt besides; the site is
# built in .venv-docs, made in the same way from constraints-docs.txt.
# A release is checked from .venv-release (constraints-release.txt), and tried in environments that see none of these.
# PYTHON=python3.12 chooses the interpreter of a new .venv; WORKERS=8 runs tests on more cores than two.
.DEFAULT_GOAL := help
.PHONY: help demo docs test test-slow test-bench test-toolkits test-docs test-all check format test-release fuzz kills bench wheel release release-short venv venv-cpu venv-toolkits venv-docs venv-release clean
WORKERS ?= 2
PYTHONS ?= 3.10 3.11 3.12 3.13
CPU_TORCH ?= torch==2.13.0
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv ## trains a model on the embedded corpus (minutes), evaluates it on unseen voices, makes demo/report.html
	@rm -rf demo
	$(BIN)/asteroid-stab train baseline/toy run_dir=demo
	$(BIN)/asteroid-stab evaluate demo
	$(BIN)/asteroid-stab report demo

docs: venv-docs ## site/: the documentation, without network; a broken link ends it
	@rm -rf site build/site
	OMP_NUM_THREADS=1 .venv-docs/bin/python -m sphinx -W --keep-going -q -b html -d build/docs docs build/site
	@mv build/site site  # whole; what the notebooks leave stays in build/

test: venv ## the tests, but those that take minutes or measure time
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not slow and not bench"

test-slow: venv ## the tests that take minutes
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "slow and not bench"

test-bench: venv ## the tests that measure time or memory, one at a time
	$(PYTEST) -m bench

test-toolkits: venv-toolkits ## the tests beside SpeechBrain, ESPnet and Accelerate
	OMP_NUM_THREADS=1 .venv-toolkits/bin/python -m pytest -n $(WORKERS) --dist loadfile -m toolkits

test-docs: venv-docs ## the site, built, read through and opened in a browser
	OMP_NUM_THREADS=1 .venv-docs/bin/python -m pytest -m docs

test-release: venv-release ## the tests of what a release needs: workflow files and citation by their schemas
	OMP_NUM_THREADS=1 .venv-release/bin/python -m pytest -m release

test-all: test test-bench test-toolkits test-docs test-release test-slow ## all tests

check: venv ## lint, format, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 asteroid_stab bench
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(PYTEST) tests/test_floors.py

format: venv ## brings the code into the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

fuzz: venv ## 5,000 damaged inputs: none may end in a traceback, hang, run code or fill the memory
	PYTHONPATH=tests/plugins $(BIN)/python -m fuzz

kills: venv ## over a hundred kills of trainings at random moments, on one rank and on two, each run resumed and compared
	N_KILLS=6 $(PYTEST) tests/cli/test_random_kills.py tests/run/test_study_runner.py

bench: venv ## this package beside Asteroid: time and memory
	for name in pit step kernels data evaluate callbacks layers refinement ranks rooms scale; do $(BIN)/asteroid-stab bench $$name || exit 1; done

wheel: venv ## dist/*.whl
	@rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation

release: venv-release ## dist/: sdist and wheel, checked, and tried in new environments of PYTHONS and beside a CPU-only torch
	.venv-release/bin/python .ci/release.py $(PYTHONS) $(if $(CPU_TORCH),--cpu $(CPU_TORCH))

release-short: venv-release ## dist/: sdist and wheel, built and checked; tried nowhere
	.venv-release/bin/python .ci/release.py

venv: ## .venv, if it is not there or not up to date
	@.ci/venv .venv

venv-cpu: ## .venv-cpu: the same beside a CPU-only torch
	@.ci/venv .venv-cpu $(CPU_TORCH)

venv-toolkits: venv ## .venv-toolkits: SpeechBrain, ESPnet and Accelerate beside what is in .venv
	@.ci/venv .venv-toolkits --on .venv constraints-toolkits.txt

venv-docs: venv ## .venv-docs: Sphinx beside what is in .venv
	@.ci/venv .venv-docs --on .venv constraints-docs.txt

venv-release: venv ## .venv-release: what checks a release, beside what is in .venv
	@.ci/venv .venv-release --on .venv constraints-release.txt

clean: ## removes what was made here, environments included
	rm -rf .venv .venv-cpu .venv-toolkits .venv-docs .venv-release build dist demo site docs/recipes docs/reference *.egg-info
