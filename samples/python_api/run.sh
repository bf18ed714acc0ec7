#!/bin/sh
# Passes of one's own, from their files and by the command line: options, report, verification and recipe come with them.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
onnxcompress run power-of-two ../models/mlp.onnx --pass ./power_of_two.py:PowerOfTwo --set steps=2 \
    --data ../data/breast_cancer.npz --map features=x_train \
    --eval-data ../data/breast_cancer.npz --eval-map features=x_test --max-drop 2pt \
    -o "$out/mlp.power_of_two.onnx" --force -v

# A graphsurgeon script runs as a pass as well, in a transaction, with its parameter as an option.
onnxcompress run clip-relus ../models/cnn.onnx --pass ./surgery.py:clip_relus --set limit=4 \
    --data ../data/mnist.npz --map image=x_train --samples 500 --scale 1/255 --mean 0.1307 --std 0.3081 \
    --max-drop 1pt -o "$out/cnn.clipped.onnx" --force
