"""Self-compression: what the machine of `distill.self_compress` asks for, done to graphs, and its report."""
