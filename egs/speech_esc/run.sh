#!/usr/bin/env bash
# Mixtures of speech and environmental sounds from LibriSpeech and ESC-50 as they were downloaded.
# Stages: 1 train, 2 evaluate, 3 report.
#   egs/speech_esc/run.sh --librispeech DIR --esc50 DIR [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N]
#                         [-- HYDRA OVERRIDES]
set -euo pipefail
librispeech='' esc50='' recipe=reweighting/speech_esc_class run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe}
if [ -z "$librispeech" ] || [ -z "$esc50" ]; then
  echo "$0: error: --librispeech DIR and --esc50 DIR are needed" >&2; exit 2
fi

if runs 1; then
  train_into "$run_dir" "$recipe" data.root="$esc50" data.speech_root="$librispeech" "$@"
fi
if runs 2; then asteroid-stab evaluate "$run_dir" --metrics si_sdr; fi
if runs 3; then asteroid-stab report "$run_dir"; fi
