#!/bin/sh
# Three ways to set single weights to zero, then whole filters: pruned, distilled, quantized, held to one point.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out/samples/vgg16}"
mkdir -p "$out"
float=../models/vgg16.onnx
data=../data/fashion.npz
prepared="--scale 1/255 --mean 0.2860 --std 0.3530 --force"
train="--data $data --map image=x_train $prepared"
test="--eval-data $data --eval-map image=x_test"

# The share of each layer, the smallest of all layers, the low part of each layer's histogram: 80 % in each.
onnxcompress prune "$float" --weights threshold --sparsity 0.8 -o "$out/threshold.onnx" $train $test --samples 500
onnxcompress prune "$float" --weights global --sparsity 0.8 -o "$out/global.onnx" $train $test --samples 500
onnxcompress prune "$float" --weights histogram --cut percentile --sparsity 0.8 -o "$out/histogram.onnx" \
    $train $test --samples 500

# Whole filters and neurons: 0.4 of the multiply-adds stay.
onnxcompress prune "$float" --target-macs 0.4x -o "$out/filters.onnx" $train $test --samples 500
onnxcompress distill "$out/filters.onnx" --teacher "$float" --steps 400 -o "$out/distilled.onnx" $train $test
onnxcompress quantize "$out/distilled.onnx" -o "$out/int8.onnx" $train $test --samples 500 --max-drop 1pt

# Cut and train in turns, the learning rate rewound after each cut.
onnxcompress distill "$float" --self-compress --target-macs 0.4x --stage-cut 0.15 --max-gap 0.2 \
    -o "$out/self-compressed.onnx" $train $test
