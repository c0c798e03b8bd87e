#!/usr/bin/env bash
# Mixtures of environmental sounds from ESC-50 (or ESC-10 in its layout) as it was downloaded; folds apart.
# Stages: 1 train, 2 evaluate, 3 report.
#   egs/esc50/run.sh --esc50 DIR [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
esc50='' recipe=reweighting/esc50_robust run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe}
if [ -z "$esc50" ]; then echo "$0: error: --esc50 DIR is needed" >&2; exit 2; fi

if runs 1; then train_into "$run_dir" "$recipe" data.root="$esc50" "$@"; fi
if runs 2; then asteroid-stab evaluate "$run_dir" --metrics si_sdr; fi
if runs 3; then asteroid-stab report "$run_dir"; fi
