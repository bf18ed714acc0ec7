"""``python -m onnxcompress`` and ``torchrun -m onnxcompress``."""

from onnxcompress.cli.app import main

if __name__ == "__main__":
    main()
