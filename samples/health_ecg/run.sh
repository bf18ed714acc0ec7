#!/bin/sh
# Heart beats: prune, refit, distill and quantize, held to the sensitivity for the rare beats and to calibration.
set -eu
cd "$(dirname "$0")/../.."
out="${OUT:-out}/health_ecg"
mkdir -p "$out"
here=samples/health_ecg
model=$here/ecg.onnx
data="--data samples/data/ecg.npz --map beat=x_train --scale 1/16"
new="--eval-data samples/data/ecg.npz --eval-map beat=x_test"
known="--eval-data samples/data/ecg.npz --eval-map beat=x_same"
gate="--metric $here/metric.py:held --max-drop 0.5pt"

# 1. 152 rare beats cannot tell half a point: refused before any work (exit code 2), with the number that is needed.
onnxcompress quantize "$model" $data $known $gate -o "$out/refused.onnx" --force && exit 1 || test $? -eq 2

# 2. 206 beats of patients that nothing was trained on can. Integers alone, and the whole recipe.
onnxcompress quantize "$model" $data $new $gate --threads 1 -o "$out/int8.onnx" --force
onnxcompress run "$here/recipe.toml" "$model" $data $new $gate --threads 1 -o "$out/recipe.onnx" --force

# 3. What else has changed: false alarms, and the time of a run.
onnxcompress compare "$model" "$out/recipe.onnx" --data samples/data/ecg.npz --map beat=x_test --scale 1/16 \
    --metric "$here/metric.py:specificity" --latency --threads 1 >&2
