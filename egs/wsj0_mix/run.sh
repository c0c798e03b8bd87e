#!/usr/bin/env bash
# WSJ0-2mix as its generator left it on disk. Run again, it goes on.
# Stages: 1 pre-train RUN_DIR/pretrain (with --pretrain RECIPE, which needs --librispeech and --noise, or --libri1mix; see
# egs/libri1mix), 2 train, from there or from scratch, 3 evaluate, 4 report. Stages that need other overrides are called
# one by one.
#   egs/wsj0_mix/run.sh --wsj0-mix DIR [--pretrain RECIPE [--librispeech DIR --noise DIR | --libri1mix DIR]]
#                       [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
wsj0_mix='' pretrain='' librispeech='' noise='' libri1mix='' run_dir='' stage=1 stop_stage=4
recipe=ssl/finetune_wsj0_2mix_convtasnet
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe${pretrain:+-pretrained}}
if [ -z "$wsj0_mix" ]; then echo "$0: error: --wsj0-mix DIR is needed" >&2; exit 2; fi
begin=(init.path=null init.new_output=false)
if [ -n "$pretrain" ]; then begin=(init.path="$run_dir/pretrain" init.new_output=true); fi

if runs 1 && [ -n "$pretrain" ]; then
  "$(dirname "$0")/../libri1mix/run.sh" --librispeech "$librispeech" --noise "$noise" --libri1mix "$libri1mix" \
    --recipe "$pretrain" --run-dir "$run_dir/pretrain" --stop-stage 1 -- "$@"
fi
if runs 2; then train_into "$run_dir" "$recipe" data.root="$wsj0_mix" "${begin[@]}" "$@"; fi
if runs 3; then asteroid-stab evaluate "$run_dir"; fi
if runs 4; then asteroid-stab report "$run_dir"; fi
