#!/bin/sh
# Other rates for other layers: much of the dense layers and little of the convolutions, and the reverse.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out/samples/alexnet}"
mkdir -p "$out"
float=../models/alexnet.onnx
data="--data pictures.py:train --samples 500 --eval-data pictures.py:test --scale 1/255 --mean 0.2860 --std 0.3530 --force"

onnxcompress inspect "$float" >&2

# Single weights: the same number of zeros both times.
onnxcompress prune "$float" --weights threshold --layer op:Conv=0.3 --layer op:Gemm=0.85 -o "$out/dense-high.onnx" $data
onnxcompress prune "$float" --weights threshold --layer op:Conv=0.9 --layer op:Gemm=0.763 -o "$out/dense-low.onnx" $data
onnxcompress prune "$float" --weights histogram -o "$out/valley.onnx" $data

# Whole filters and neurons.
onnxcompress prune "$float" --ratio 0 --layer 're:conv[12]/=0.1' --layer 're:conv[345]/=0.3' --layer re:fc=0.7 \
    -o "$out/late.onnx" $data
onnxcompress prune "$float" --ratio 0 --layer re:conv=0.5 --layer re:fc=0.1 -o "$out/early.onnx" $data
