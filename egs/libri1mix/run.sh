#!/usr/bin/env bash
# Pre-training on single speakers in noise: mixed on the fly from LibriSpeech's folders and a folder of noise (WHAM!'s,
# ESC-50, any), or Libri1Mix as its generator left it. Run again, it goes on. Stages: 1 train, 2 evaluate, 3 report.
#   egs/libri1mix/run.sh --librispeech DIR --noise DIR [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N]
#                        [-- HYDRA OVERRIDES]
#   egs/libri1mix/run.sh --libri1mix DIR [...]
set -euo pipefail
librispeech='' noise='' libri1mix='' recipe=ssl/pretrain_se_libri1mix run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe}
if [ -n "$libri1mix" ]; then
  data=(data=librimix data.root="$libri1mix" data.train_subset=train-360 data.task=enh_single data.n_src=1)
elif [ -n "$librispeech" ] && [ -n "$noise" ]; then
  data=(data.base.root="$librispeech" data.noise_root="$noise")
else
  echo "$0: error: --librispeech DIR and --noise DIR, or --libri1mix DIR, are needed" >&2; exit 2
fi

if runs 1; then train_into "$run_dir" "$recipe" "${data[@]}" "$@"; fi
if runs 2; then asteroid-stab evaluate "$run_dir"; fi
if runs 3; then asteroid-stab report "$run_dir"; fi
