#!/bin/sh
# Half of the multiply-adds: whole channels go, and the rest is refitted on 4,000 unlabelled pictures.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
data=../data/mnist.npz

onnxcompress prune ../models/cnn.onnx --target-macs 0.5x -o "$out/cnn.pruned.onnx" --force \
    --data "$data" --map image=x_train --samples 1000 --scale 1/255 --mean 0.1307 --std 0.3081 \
    --eval-data "$data" --eval-map image=x_test

# Without any data: a smaller step, no refit, and the report says that nothing was measured.
onnxcompress prune ../models/mlp.onnx -o "$out/mlp.pruned.onnx" --force
