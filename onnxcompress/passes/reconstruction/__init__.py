"""Closed-form repair of a compressed student: streams, patch matrices, ridge regression, the walk."""
