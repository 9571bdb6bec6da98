"""Benchmarks: each compares within one run, and none is a test."""
