#!/bin/sh
# The script runs as a pass: in a transaction, verified, measured, with its parameter as an option.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
onnxcompress run clip-relus ../models/cnn.onnx --pass ./surgery.py:clip_relus --set limit=4 \
    --data ../data/mnist.npz --map image=x_train --samples 500 --scale 1/255 --mean 0.1307 --std 0.3081 \
    --max-drop 1pt -o "$out/cnn.clipped.onnx" --force
