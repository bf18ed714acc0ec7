"""Where Q/DQ pairs go: a pure function of the graph, its shapes and the target."""
