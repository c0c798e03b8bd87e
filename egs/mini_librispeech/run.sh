#!/usr/bin/env bash
# A little real speech: speakers of train-clean-100, 25 of them held out for validation, and test-other.
# Stages: 1 mixture lists, 2 train, 3 evaluate, 4 report.
#   egs/mini_librispeech/run.sh --librispeech DIR [--lists DIR] [--recipe NAME] [--run-dir DIR] [--stage N]
#                               [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
librispeech='' lists=data/mini_librispeech recipe=baseline/mini_librispeech run_dir='' stage=1 stop_stage=4
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe}
if [ -z "$librispeech" ]; then echo "$0: error: --librispeech DIR is needed" >&2; exit 2; fi

if runs 1; then
  asteroid-stab prepare --librispeech "$librispeech" --subset train-clean-100 --valid-speakers 25 --reuse \
    --n-mixtures 3000 --n-valid 200 --seed 0 --out "$lists"
  asteroid-stab prepare --librispeech "$librispeech" --subset test-other --reuse --n-mixtures 200 --seed 0 \
    --out "$lists"
fi
if runs 2; then
  train_into "$run_dir" "$recipe" data.root="$librispeech" data.list_root="$lists" \
    data.cache="$lists/cache" "$@"
fi
if runs 3; then asteroid-stab evaluate "$run_dir"; fi
if runs 4; then asteroid-stab report "$run_dir"; fi
