#!/bin/sh
# A tenth of the multiply-adds costs accuracy; imitating the original on unlabelled pictures brings it back.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
data=../data/mnist.npz

onnxcompress prune ../models/cnn.onnx --target-macs 0.1x -o "$out/student.onnx" --force \
    --data "$data" --map image=x_train --samples 500 --scale 1/255 --mean 0.1307 --std 0.3081 \
    --eval-data "$data" --eval-map image=x_test

onnxcompress distill "$out/student.onnx" --teacher ../models/cnn.onnx --steps 200 -o "$out/distilled.onnx" --force \
    --data "$data" --map image=x_train --samples 2000 --scale 1/255 --mean 0.1307 --std 0.3081 \
    --eval-data "$data" --eval-map image=x_test
