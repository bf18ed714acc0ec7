#!/bin/sh
# Before deployment: compress under a gate, look for what the runtime would do otherwise, then measure as it will run.
set -eu
cd "$(dirname "$0")"
out="${OUT:-../../out}"
mkdir -p "$out"
data="--data ../data/mnist.npz --map image=x_train --samples 500 --scale 1/255 --mean 0.1307 --std 0.3081"
test="--eval-data ../data/mnist.npz --eval-map image=x_test"

# Exit code 5, and no file, where more than a point is lost: the script ends here then.
onnxcompress run recipe.toml ../models/cnn.onnx $data $test --max-drop 1pt --report "$out/ort.html" \
    -o "$out/cnn.ort.onnx" --force

# Exit code 3 where ONNX Runtime would compute otherwise than the file says.
onnxcompress lint "$out/cnn.ort.onnx" --target ort-cpu >&2

"${PYTHON:-python}" infer.py ../models/cnn.onnx "$out/cnn.ort.onnx"
