#!/usr/bin/env bash
# The embedded corpus, made on its first use. Stages: 1 train, 2 evaluate, 3 report.
#   egs/toy/run.sh [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
recipe=baseline/toy run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe}

if runs 1; then train_into "$run_dir" "$recipe" "$@"; fi
if runs 2; then asteroid-stab evaluate "$run_dir"; fi
if runs 3; then asteroid-stab report "$run_dir"; fi
