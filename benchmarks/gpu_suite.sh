#!/usr/bin/env bash
# Everything that is measured on a GPU, in one go: tests, throughput, side-by-side benchmarks, the loop with a real model.
#
#   benchmarks/gpu_suite.sh [--dry-run] [--tiny] [--only STEP,...] [--data DIR] [--output DIR]
#
#   --dry-run   print the commands, run nothing
#   --tiny      the same steps with small sizes on the CPU, to see that they work; its figures mean nothing
#   --only      tests, throughput, scoring, quickstart, reward, ppo, sampling, loop, control, humaneval, multipl-e
#   --data      folder with CodeT's samples (benchmark scoring; left out without it)
#   --output    default benchmarks/results/gpu, with --tiny benchmarks/results/gpu-tiny
#
# Resumable: a finished step leaves OUTPUT/.done/STEP and is not repeated; the steps themselves go on where they stopped.
# A step that fails is reported, the others still run, and the exit status is 1. Environment: PYTHON, MODEL (default
# smollm2-135m), PROCESSES (default: the number of GPUs; more than one launches the loop on all), RECIPE.
# Not measured: several machines, and anything that needs a download the machine can't make (MULTIPLE names a folder with
# files multipl-e-LANGUAGE.jsonl to use in place of the hub).
set -uo pipefail
cd "$(dirname "$0")/.."

dry=0 tiny=0 only="" data="" output=""
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry=1 ;;
    --tiny) tiny=1 ;;
    --only) only="$2"; shift ;;
    --data) data="$2"; shift ;;
    --output) output="$2"; shift ;;
    -h | --help) sed -n '2,18p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done

python="${PYTHON:-.venv/bin/python}"
model="${MODEL:-smollm2-135m}"
recipe="${RECIPE:-smollm2}"
device=cuda
dtype=bfloat16
results="${output:-benchmarks/results/gpu}"
if [ "$tiny" = 1 ]; then
  device=cpu
  dtype=float32
  recipe="${RECIPE:-quickstart}"
  results="${output:-benchmarks/results/gpu-tiny}"
fi
runs="$results/runs"
rr=("$python" -m rewardranker)
failed=()

if [ "$tiny" = 0 ] && [ "$dry" = 0 ]; then
  "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null ||
    { echo "no CUDA device here: --tiny runs the same steps on the CPU" >&2; exit 2; }
fi
if [ -z "${PROCESSES:-}" ]; then
  PROCESSES=1
  [ "$dry" = 1 ] || PROCESSES=$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')
fi

step() { # name command...: run it unless it is done; its output goes to the terminal and to OUTPUT/STEP.log
  local name="$1"
  shift
  if [ -n "$only" ] && [[ ",$only," != *",$name,"* ]]; then return; fi
  if [ "$dry" = 1 ]; then
    printf '%s: ' "$name"
    printf '%q ' "$@"
    echo
    return
  fi
  if [ -e "$results/.done/$name" ]; then
    echo "== $name: done"
    return
  fi
  mkdir -p "$results/.done" "$runs"
  echo "== $name: $*"
  if "$@" 2>&1 | tee -a "$results/$name.log"; then
    touch "$results/.done/$name"
  else
    failed+=("$name")
    echo "== $name failed: see $results/$name.log" >&2
  fi
}

gpu_tests() { # no test that needs a GPU is left to run on a machine without one: pytest's status 5
  "$python" -m pytest -m gpu --timeout=0 tests
  local status=$?
  [ "$status" = 5 ] && [ "$tiny" = 1 ] && return 0
  return "$status"
}

if [ "$tiny" = 1 ]; then
  small=(tasks.corpus_size=600 tasks.train_limit=60 tasks.validation_limit=8 tasks.evaluation_limit=8
    model.scratch.hidden_size=32 model.scratch.layers=2 model.scratch.heads=2 model.scratch.intermediate_size=64
    sampling.n=4 preference.references=true ppo.steps=2 ppo.tasks_per_step=8 ppo.evaluate_every=1
    ppo.validation_samples=2 evaluation.n=4 evaluation.bootstrap=100 loop.sampled_tasks=40 launch.device=cpu)
  loop=("${small[@]}")
  quick=("${small[@]}")
  through=(--model "$runs/quickstart/sft" --groups 2 --length 16 --matrix 256)
  ppo=(--parts speed --rounds 1)
  sampling=(--model "$runs/quickstart/sft" --task-set synthetic:test --tasks 2 --n 2 --max-new-tokens 16 --ways ours)
  reward=(--groups 20 --held-out 8)
  languages=""
  few=(--limit 4)
else
  loop=("model.generator=$model" loop.rounds=2 tasks.train=mbpp:train tasks.evaluation=humaneval
    launch.device=cuda sampling.batch_tasks=64 sampling.n=16 evaluation.n=16)
  quick=(launch.device=cuda)
  through=(--model "$model")
  ppo=(--parts speed,curves,smollm2)
  sampling=(--model "$model" --tasks 64 --n 16)
  reward=()
  languages="${LANGUAGES:-cpp java js php sh ts}"
  few=()
fi
train=("${rr[@]}" run)
[ "$PROCESSES" -gt 1 ] && train=("${rr[@]}" launch --num-processes "$PROCESSES" run)

step tests gpu_tests
step quickstart "${rr[@]}" run --config quickstart "${quick[@]}" --output-dir "$runs/quickstart"
step throughput "$python" benchmarks/gpu_throughput.py "${through[@]}" --device "$device" --dtype "$dtype" \
  --output "$results/throughput.json"
if [ -n "$data" ]; then
  step scoring "$python" benchmarks/scoring.py --data "$data" --model "$model" --device "$device" \
    --output "$results/scoring.json"
elif [ "$dry" = 1 ]; then
  echo "scoring: left out without --data"
fi
if [ "$tiny" = 1 ] && ! "$python" -c 'import trl' 2>/dev/null; then
  echo "== reward: left out, its peer trl is not installed"
else
  step reward "$python" benchmarks/reward_training.py --run "$runs/quickstart" "${reward[@]}" \
    --output "$results/reward_training.json"
fi
[ "$tiny" = 1 ] || # its peer is installed into an environment of its own, 1.5 GB
  step ppo "$python" benchmarks/ppo.py "${ppo[@]}" --cache "$runs/ppo" --output "$results/ppo.json"
step sampling "$python" benchmarks/sampling.py "${sampling[@]}" --device "$device" --dtype "$dtype" \
  --output "$results/sampling.json"
step loop "${train[@]}" --config "$recipe" "${loop[@]}" --output-dir "$runs/loop"
step control "${train[@]}" --config "$recipe" "${loop[@]}" preference.mining=random --output-dir "$runs/control"

evaluate() { # step, task set: programs of the SFT generator and of the last policy, ranked by the last reranker
  step "$1" "${rr[@]}" eval --config "$recipe" "${loop[@]}" --tasks "$2" --model "$runs/loop/round-2/ppo/policy" \
    --rankers "shortest,mean-logprob,reward:$runs/loop/reward" --output "$results/$1" "${few[@]}"
}
[ "$tiny" = 1 ] && evaluate humaneval synthetic:test || evaluate humaneval humaneval
for language in $languages; do
  file="${MULTIPLE:+:$MULTIPLE/multipl-e-$language.jsonl}"
  if [ -z "$only" ] || [[ ",$only," == *",multipl-e,"* ]]; then
    keep="$only"
    only=""
    evaluate "multipl-e-$language" "multipl-e:humaneval-$language$file"
    only="$keep"
  fi
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}; the same command tries them again" >&2
  exit 1
fi
[ "$dry" = 1 ] || echo "results: $results"
