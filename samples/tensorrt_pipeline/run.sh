#!/bin/sh
# Before TensorRT: Q/DQ nodes as it fuses them, under a gate; what it would refuse; the line that builds the engine.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
data="--data ../data/mnist.npz --map image=x_train --samples 500 --scale 1/255 --mean 0.1307 --std 0.3081"
test="--eval-data ../data/mnist.npz --eval-map image=x_test"

# Exit code 5, and no file, where more than a point is lost. The last line on stderr is the one for trtexec.
onnxcompress run recipe.toml ../models/cnn.onnx $data $test --max-drop 1pt --shape image:8x1x28x28 \
    --report "$out/trt.html" -o "$out/cnn.trt.onnx" --force

# Exit code 3 where TensorRT would refuse a node, or run it in float.
onnxcompress lint "$out/cnn.trt.onnx" --target tensorrt >&2
