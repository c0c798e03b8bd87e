#!/usr/bin/env bash
# Libri2Mix from plain LibriSpeech folders and LibriMix's published lists: no mixture is written. Run again, it goes on.
# Stages: 1 pre-train RUN_DIR/pretrain (with --pretrain RECIPE, which needs --noise or --libri1mix; see egs/libri1mix),
# 2 train, from there or from scratch, 3 evaluate, 4 report. Stages that need other overrides are called one by one.
#   egs/libri2mix/run.sh --librispeech DIR --lists DIR [--noise DIR] [--pretrain RECIPE [--libri1mix DIR]]
#                        [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
librispeech='' lists='' noise='' pretrain='' libri1mix='' recipe='' run_dir='' stage=1 stop_stage=4
. "$(dirname "$0")/../options.sh"
recipe=${recipe:-${pretrain:+ssl/finetune_libri2mix_convtasnet}}
recipe=${recipe:-baseline/libri2mix_convtasnet}
run_dir=${run_dir:-runs/$recipe${pretrain:+-pretrained}}
if [ -z "$librispeech" ] || [ -z "$lists" ]; then
  echo "$0: error: --librispeech DIR and --lists DIR are needed" >&2; exit 2
fi
begin=(init.path=null init.new_output=false)
if [ -n "$pretrain" ]; then begin=(init.path="$run_dir/pretrain" init.new_output=true); fi

if runs 1 && [ -n "$pretrain" ]; then
  "$(dirname "$0")/../libri1mix/run.sh" --librispeech "$librispeech" --noise "$noise" --libri1mix "$libri1mix" \
    --recipe "$pretrain" --run-dir "$run_dir/pretrain" --stop-stage 1 -- "$@"
fi
if runs 2; then
  train_into "$run_dir" "$recipe" data.root="$librispeech" data.list_root="$lists" \
    data.noise_root="${noise:-null}" "${begin[@]}" "$@"
fi
if runs 3; then asteroid-stab evaluate "$run_dir"; fi
if runs 4; then asteroid-stab report "$run_dir"; fi
