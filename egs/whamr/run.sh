#!/usr/bin/env bash
# WHAMR! as its generator left it on disk, with two microphones or (-- data.mics=[0] model=convtasnet) with one.
# Run again, it goes on. Stages: 1 train, 2 evaluate, also a beamformer on the same mixtures with --oracle mvdr or
# delay_and_sum, 3 report. mics.rows compares one microphone with two, for asteroid-stab study.
#   egs/whamr/run.sh --whamr DIR [--oracle NAME] [--recipe NAME] [--run-dir DIR] [--stage N] [--stop-stage N]
#                    [-- HYDRA OVERRIDES]
set -euo pipefail
whamr='' oracle='' recipe=dsd_lo/rooms_whamr run_dir='' stage=1 stop_stage=3
. "$(dirname "$0")/../options.sh"
if [ -z "$whamr" ]; then echo "$0: error: --whamr DIR is needed" >&2; exit 2; fi
run_dir=${run_dir:-runs/$recipe}

if runs 1; then train_into "$run_dir" "$recipe" data.root="$whamr" "$@"; fi
if runs 2; then
  asteroid-stab evaluate "$run_dir" --metrics si_sdr
  if [ -n "$oracle" ]; then asteroid-stab evaluate "$run_dir" --metrics si_sdr --oracle "$oracle"; fi
fi
if runs 3; then asteroid-stab report "$run_dir"; fi
