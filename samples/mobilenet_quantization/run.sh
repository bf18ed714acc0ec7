#!/bin/sh
# MobileNet V1 in 8 and 4 bits, the range of activations chosen in four ways, and the text's four classes.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out/samples/mobilenet}"
mkdir -p "$out"
float=../models/mobilenet_v1.onnx
data=../data/fashion.npz
prepared="--scale 1/255 --mean 0.2860 --std 0.3530"
data="--data $data --map image=x_train --samples 500 --eval-data $data --eval-map image=x_test $prepared --force"

for calibrator in truncate uniform kl mse; do
    onnxcompress quantize "$float" --calibrator $calibrator --effort fast -o "$out/int8-$calibrator.onnx" $data
    onnxcompress quantize "$float" --weights int4 --calibrator $calibrator --effort fast -o "$out/w4a8-$calibrator.onnx" $data
done

onnxcompress quantize "$float" --float16 -o "$out/float16.onnx" --force     # floating point
onnxcompress quantize "$float" --target mobile -o "$out/mobile.onnx" $data  # fixed point, for small devices
onnxcompress quantize "$float" -o "$out/int8.onnx" $data --max-drop 1pt     # offline, as it comes
