#!/usr/bin/env bash
# On a machine with a GPU, in less than ten minutes: the GPU tests, the table of step times, and a
# pair of ResNet-32 that teach each other, beside the same alone, on CIFAR-100.
#
#   scripts/gpu_check.sh [FOLDER]      results go there; else to $OUT, else to ./gpu_check
#
# Needs nothing installed but what the package depends on; PYTHONPATH may name it, the checkout is
# found by itself. Every part has a time limit and none stops the others. With SMOKE=1 everything is
# tiny and runs on a CPU. CIFAR-100 is looked for in $DATA_ROOT (default: data).
set -u -o pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-${OUT:-gpu_check}}
data=${DATA_ROOT:-data}
smoke=${SMOKE:-}
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
data=$(cd "$here" && realpath -m "$data")
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
began=$SECONDS

# part NAME SECONDS COMMAND...: run it, at most so long, keep what it says, and note how it ended.
part() {
    local name=$1 limit=$2 start=$SECONDS code
    shift 2
    timeout --signal=INT --kill-after=20 "$limit" "$@" >"$out/$name.log" 2>&1
    code=$?
    printf '%-22s exit %3d after %4d s: %s\n' "$name" "$code" $((SECONDS - start)) "$*" \
        | tee -a "$out/summary.txt"
}

: >"$out/summary.txt"
cd "$here" || exit 1
git describe --always --dirty >"$out/commit.txt" 2>/dev/null || true
part versions 60 "$python" -c 'import torch; print(torch.__version__, torch.version.cuda); print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU")'

if [ -n "$smoke" ]; then
    sizes=(--k 1,2 --students resnet8 --rounds 2 --steps 2 --gpus 0)
    pair=(--students resnet8 --dataset synthetic --train-subset 256 --test-subset 64 --epochs 1 --gpus 0)
    epochs=1
else
    sizes=(--k 1,2,4,8 --students resnet32 --rounds 5 --steps 20)
    pair=(--students resnet32 --dataset cifar100 --data-root "$data" --gpus 1)
fi

part tests 240 "$python" -m pytest -m gpu tests/gpu -n 8 -q -p no:cacheprovider -p no:benchmark
part steps 90 "$python" -m cohort bench step "${sizes[@]}" --batch-size 64 --precision bf16 \
    --output "$out/steps.json"
if [ -z "$smoke" ]; then  # a CPU's compiler takes minutes
    part steps_compiled 120 "$python" -m cohort bench step "${sizes[@]}" --k 1,4 \
        --batch-size 64 --precision bf16 --compile --output "$out/steps_compiled.json"
fi

# As many epochs for the pair, and then the same alone, as fit into what is left of ten minutes, five at
# the most, by the step that was measured; evaluated every tenth.
if [ -z "$smoke" ]; then
    left=$((580 - (SECONDS - began)))
    budget=$((left < 300 ? left : 300))
    milliseconds=$("$python" -c '
import json, sys
try:
    row = json.load(open(sys.argv[1]))["summary"]["2"]
    print(max(2.0, row.get("graph", row["eager"])[1]))
except (OSError, KeyError, ValueError):
    print(20.0)
' "$out/steps.json")
    epochs=$("$python" -c '
import sys
budget, step = float(sys.argv[1]), float(sys.argv[2])
seconds = 50_000 // 64 * step / 1000 * 1.08 + 0.1  # of an epoch of two students
print(max(1, int((budget - 40) / (2 * seconds))))
' "$budget" "$milliseconds")
    pair+=(--epochs "$epochs" --eval-every 7810 --checkpoint-every 7810)
else
    budget=120
fi
rm -rf "$out/pair"
part pair "$budget" "$python" -m cohort train --k 2 "${pair[@]}" --batch-size 64 --precision bf16 \
    --exchange in_process --baseline --keep 1 --run-dir "$out/pair"
rm -rf "$out/pair/checkpoints" "$out/pair/alone/checkpoints"

printf 'all of it: %d s, %s epochs\n' $((SECONDS - began)) "$epochs" | tee -a "$out/summary.txt"
