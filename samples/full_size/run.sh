#!/bin/sh
# MobileNet V2 as published, 224 x 224, with random weights: made, pruned to half its multiply-adds, quantized, compared.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out/samples/full_size}"
mkdir -p "$out"
data="--data pictures.py:train --preset imagenet"

python ../models/make.py mobilenet_v2 --random --no-norm --width 1 --size 224 --channels 3 --classes 1000 \
    --out "$out/float.onnx"
onnxcompress inspect "$out/float.onnx" >&2
onnxcompress prune "$out/float.onnx" --target-macs 0.5x $data --force -o "$out/pruned.onnx"
onnxcompress quantize "$out/pruned.onnx" $data --force -o "$out/int8.onnx"
onnxcompress compare "$out/float.onnx" "$out/int8.onnx" --latency $data --samples 4 >&2
