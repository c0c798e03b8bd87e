#!/usr/bin/env bash
# Trains and evaluates every row of a table with the same seeds and budget, then prints the table. Run again, it goes on.
#   egs/study.sh --rows FILE --out DIR [--seeds "1 2 3"] [-- HYDRA OVERRIDES OF ALL ROWS]
# A line of FILE: NAME RECIPE [OVERRIDES]; {out} and {seed} in it are filled in, a line that begins with # is skipped.
set -euo pipefail -f   # -f: stabilizer=[dsd] is no pattern
rows='' out='' seeds='1 2 3'
. "$(dirname "$0")/options.sh"
if [ -z "$rows" ] || [ -z "$out" ]; then echo "$0: error: --rows FILE and --out DIR are needed" >&2; exit 2; fi
if [ ! -f "$rows" ]; then echo "$0: error: there is no $rows" >&2; exit 2; fi

for seed in $seeds; do
  while read -r -u 3 name recipe line; do
    run=$out/$name/$seed
    read -r -a words <<< "$line"   # before {out}, which may hold spaces, is filled in
    words=("${words[@]//\{out\}/"$out"}") words=("${words[@]//\{seed\}/"$seed"}")
    train_into "$run" "$recipe" seed="$seed" "${words[@]}" "$@"
    asteroid-stab evaluate "$run" --metrics si_sdr
  done 3< <(grep -v '^#' "$rows" | grep .)
done
asteroid-stab compare "$out"
