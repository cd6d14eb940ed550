"""Measurements of time and memory; docs/benchmarks.md says how to read them."""
