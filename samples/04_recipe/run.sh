#!/bin/sh
# One file says everything that is done to the model; the report is a page that can be sent to somebody.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
data=../data/mnist.npz

onnxcompress run recipe.toml ../models/cnn.onnx -o "$out/cnn.recipe.onnx" --report "$out/cnn.recipe.html" --force \
    --data "$data" --map image=x_train --samples 500 --scale 1/255 --mean 0.1307 --std 0.3081 \
    --eval-data "$data" --eval-map image=x_test

# The same recipe with one option changed, and the recipe that `auto` would run, as a start for one's own.
onnxcompress run recipe.toml ../models/cnn.onnx --set prune-channels.target_macs=0.8x --dry-run
onnxcompress run auto ../models/cnn.onnx --data "$data" --dry-run
