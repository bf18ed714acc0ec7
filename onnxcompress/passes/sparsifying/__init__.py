"""Single weights to zero: one file a method, the second-order update, and what came of it."""
