# Sourced by run.sh: gives "--some-option VALUE" to the variable some_option, which must be set before, and stops behind
# "--"; what is left in "$@" goes to Hydra untouched. An unknown option or one without its value exits with 2.
while [ $# -gt 0 ]; do
  if [ "$1" = -- ]; then shift; break; fi
  option=${1#--}; option=${option//-/_}
  if [[ $1 != --* || ! -v $option ]]; then echo "$0: error: unknown option $1" >&2; exit 2; fi
  if [ $# -lt 2 ]; then echo "$0: error: $1 needs a value" >&2; exit 2; fi
  printf -v "$option" %s "$2"; shift 2
done
runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }  # whether stage $1 is asked for
train_into() {  # RUN RECIPE OVERRIDES: trains, or goes on with a run that has started
  local run=$1 recipe=$2; shift 2
  asteroid-stab train "$recipe" run_dir="$run" "$@" --or-resume
}
