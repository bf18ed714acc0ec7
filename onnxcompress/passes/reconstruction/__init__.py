"""Closed-form repair of a compressed student: streams, targets, ridge regression, recurrent cells, the walk."""
