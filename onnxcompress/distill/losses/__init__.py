"""Loss terms, each a small function of student and teacher tensors, and the rule that combines them."""
