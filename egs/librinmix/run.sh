#!/usr/bin/env bash
# Mixtures of 5, 10, 15 or 20 speakers (any number to 20) from plain LibriSpeech folders: clean, 8 kHz, min.
# Stages: 1 mixture lists, 2 train, 3 evaluate, 4 report.
#   egs/librinmix/run.sh --librispeech DIR [--n-src J] [--lists DIR] [--recipe NAME] [--run-dir DIR] [--stage N]
#                        [--stop-stage N] [-- HYDRA OVERRIDES]
set -euo pipefail
librispeech='' n_src=5 lists=data/librinmix recipe=attention_pit/librimix run_dir='' stage=1 stop_stage=4
. "$(dirname "$0")/../options.sh"
run_dir=${run_dir:-runs/$recipe-$n_src}
if [ -z "$librispeech" ]; then echo "$0: error: --librispeech DIR is needed" >&2; exit 2; fi

if runs 1; then
  for subset in train-clean-100:5000 dev-clean:300 test-clean:300; do
    asteroid-stab prepare --librispeech "$librispeech" --subset "${subset%:*}" --n-src "$n_src" --reuse \
      --n-mixtures "${subset#*:}" --seed 0 --out "$lists"
  done
fi
if runs 2; then
  train_into "$run_dir" "$recipe" data.n_src="$n_src" data.root="$librispeech" \
    data.list_root="$lists" data.cache="$lists/cache" "$@"
fi
if runs 3; then asteroid-stab evaluate "$run_dir"; fi
if runs 4; then asteroid-stab report "$run_dir"; fi
