"""The command line: flags in, `onnxcompress.api` called, a path or JSON out. It holds no logic of its own.

`app` finds the commands, `build` turns a typed function into a command, `options` declares the shared groups of
flags, `execute` is what every compressing command does, `console` is all that a person sees.
"""
