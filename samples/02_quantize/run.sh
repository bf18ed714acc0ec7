#!/bin/sh
# 8-bit integers: with data, weights and activations by Q/DQ nodes; without, the weights alone.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
data=../data/mnist.npz

for target in ort-cpu tensorrt; do
    onnxcompress quantize ../models/cnn.onnx --target "$target" --calibrator kl -o "$out/cnn.$target.onnx" --force \
        --data "$data" --map image=x_train --samples 200 --scale 1/255 --mean 0.1307 --std 0.3081 \
        --eval-data "$data" --eval-map image=x_test --max-drop 1pt
done

onnxcompress quantize ../models/cnn.onnx -o "$out/cnn.weights.onnx" --force
