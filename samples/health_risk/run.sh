#!/bin/sh
# A table of cell measurements: prune, refit, distill and store small, held to the sensitivity for malignant tumours.
set -eu
cd "$(dirname "$0")/../.."
out="${OUT:-out}/health_risk"
mkdir -p "$out"
here=samples/health_risk
model=$here/risk.onnx
data="--data $here/fold0.npz --map features=x_train --eval-data $here/fold0.npz --eval-map features=x_test --threads 1"
metric="--metric samples/health_ecg/metric.py:held"

# 1. One of 106 tumours weighs more than half a point: refused before any work (exit code 2), with the number needed.
onnxcompress quantize "$model" $data $metric --max-drop 0.5pt -o "$out/refused.onnx" --force && exit 1 || test $? -eq 2

# 2. One point is one tumour. int8 saves bytes, but no time on a network this small (the report says so).
onnxcompress quantize "$model" $data $metric --max-drop 1pt -o "$out/int8.onnx" --force

# 3. Three quarters of the work gone, the weights stored as int8: smaller, and faster where many rows come at once.
onnxcompress run "$here/recipe.toml" "$model" $data $metric --max-drop 1pt --latency -o "$out/recipe.onnx" --force
