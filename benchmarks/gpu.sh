#!/usr/bin/env bash
# Everything that is to be measured on one GPU, within ten minutes:
#
#   benchmarks/gpu.sh FOLDER [--tiny]
#
# Each part is a process with a time limit of its own, so that one that fails or takes too long does
# not lose the others. Results are JSON lines in FOLDER/<hardware>.jsonl, written as soon as they are
# measured; FOLDER/log has what the parts print. --tiny tries all parts on a CPU. The exit status is
# the number of parts that failed. $PYTHON is the interpreter, python by default, and $LONGER a factor
# of all limits, 1 by default.
set -uo pipefail
[ $# -ge 1 ] || { sed -n '2,11s/^# \?//p' "$0"; exit 64; }
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
failed=0

part() { # SECONDS MODULE [MODEL]
  local seconds=$(($1 * ${LONGER:-1})) module=$2 start=$SECONDS
  shift 2
  timeout --kill-after=5 "$seconds" "${PYTHON:-python}" -m "benchmarks.gpu.$module" "$@" \
    --out "$out" "${options[@]}" >> "$out/log" 2>&1
  local status=$?
  [ $status -eq 0 ] || failed=$((failed + 1))
  echo "$module $* status $status after $((SECONDS - start)) s" | tee -a "$out/log"
}

options=("$@")
part 40 attention
part 60 importance vilt_b32
part 80 importance blip2_opt_2_7b
part 90 importance llava_1_5_7b
part 40 client_step vilt_b32
part 50 client_step blip2_opt_2_7b
part 60 client_step llava_1_5_7b
part 80 federation
part 40 placements
part 60 selection
exit $failed
