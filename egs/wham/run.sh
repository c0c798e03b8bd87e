#!/usr/bin/env bash
# WHAM! as its generator left it on disk; or what is at hand in its place: LibriSpeech's folders with a folder of noise
# (ESC-50, any), mixed on the fly. Run again, it goes on. Stages: 1 train, 2 evaluate, 3 report.
# Early exit goes on from a run: --recipe lir/wham_early_exit -- init.path=RUN
#   egs/wham/run.sh --wham DIR [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N] [-- HYDRA OVERRIDES]
#   egs/wham/run.sh --librispeech DIR --noise DIR [...]
set -euo pipefail
wham='' librispeech='' noise='' recipe='' run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
if [ -n "$wham" ]; then
  recipe=${recipe:-lir/wham_sep} data=(data.root="$wham")
elif [ -n "$librispeech" ] && [ -n "$noise" ]; then
  recipe=${recipe:-lir/mini_librispeech} data=(data.base.root="$librispeech" data.noise_root="$noise")
else
  echo "$0: error: --wham DIR, or --librispeech DIR and --noise DIR, are needed" >&2; exit 2
fi
run_dir=${run_dir:-runs/$recipe}

if runs 1; then train_into "$run_dir" "$recipe" "${data[@]}" "$@"; fi
if runs 2; then asteroid-stab evaluate "$run_dir" --metrics si_sdr; fi
if runs 3; then asteroid-stab report "$run_dir"; fi
