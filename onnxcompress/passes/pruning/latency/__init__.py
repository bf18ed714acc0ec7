"""Milliseconds instead of multiply-accumulates: what each layer takes at each width, measured on this machine.

Layers are timed one by one at a few widths (`layers`, `measure`), the times make a budget that falls as channels go
(`budget`), and the whole pruned model is timed until it lands on the target (`search`).
"""
