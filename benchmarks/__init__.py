"""Measurements that people read, a command each: ``python -m benchmarks.<name>``. Nothing here is a test."""
