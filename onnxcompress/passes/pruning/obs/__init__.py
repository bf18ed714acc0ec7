"""Choosing channels by reconstruction error: readers, statistics, block elimination, error curves."""
