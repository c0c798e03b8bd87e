#!/usr/bin/env bash
# Libri2Mix from plain LibriSpeech folders and LibriMix's published lists: no mixture is written.
# Stages: 1 train, 2 evaluate, 3 report.
#   egs/libri2mix/run.sh --librispeech DIR --lists DIR [--noise DIR] [--recipe NAME] [--run-dir DIR] [--stage N]
#                        [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
librispeech='' lists='' noise=null recipe=baseline/libri2mix_convtasnet run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe}
if [ -z "$librispeech" ] || [ -z "$lists" ]; then
  echo "$0: error: --librispeech DIR and --lists DIR are needed" >&2; exit 2
fi

if runs 1; then
  asteroid-stab train "$recipe" run_dir="$run_dir" data.root="$librispeech" data.list_root="$lists" \
    data.noise_root="$noise" "$@"
fi
if runs 2; then asteroid-stab evaluate "$run_dir"; fi
if runs 3; then asteroid-stab report "$run_dir"; fi
