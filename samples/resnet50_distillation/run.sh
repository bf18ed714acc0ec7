#!/bin/sh
# A ResNet50 cut to 0.3 of its multiply-adds learns from the whole one: outputs, feature maps, attention.
# A teacher that learns along may bring nothing (see the table): then the student is written as it came.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out/samples/resnet50}"
mkdir -p "$out"
teacher=../models/resnet50.onnx
data=../data/fashion.npz
prepared="--scale 1/255 --mean 0.2860 --std 0.3530 --force"
train="--data $data --map image=x_train $prepared"
test="--eval-data $data --eval-map image=x_test"
learn="$out/student.onnx --teacher $teacher"

onnxcompress prune "$teacher" --target-macs 0.3x -o "$out/student.onnx" $train $test --samples 500
onnxcompress distill $learn --steps 200 --loss kl -o "$out/soft.onnx" $train $test
onnxcompress distill $learn --steps 200 --loss hints:0.8,kl:0.2 -o "$out/features.onnx" $train $test
onnxcompress distill $learn --steps 200 --loss at:0.5,kl:0.5 -o "$out/attention.onnx" $train $test
onnxcompress distill $learn --steps 200 --loss kl --teacher-lr-mult 2 --allow-unchanged -o "$out/cotrained.onnx" $train $test
onnxcompress distill $learn --loss hints:0.5,at:0.2,kl:0.3 --steps 400 -o "$out/both.onnx" $train $test
onnxcompress quantize "$out/both.onnx" -o "$out/int8.onnx" $train $test --samples 500 --max-drop 1pt
