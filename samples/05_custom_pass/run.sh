#!/bin/sh
# Load the pass from its file and run it like any other: it gets options, a report, verification and a recipe entry.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
onnxcompress run power-of-two ../models/mlp.onnx --pass ./power_of_two.py:PowerOfTwo --set steps=2 \
    --data ../data/breast_cancer.npz --map features=x_train \
    --eval-data ../data/breast_cancer.npz --eval-map features=x_test --max-drop 2pt \
    -o "$out/mlp.power_of_two.onnx" --force -v
