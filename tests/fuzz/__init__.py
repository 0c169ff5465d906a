"""Fuzzing: what comes from outside, broken in every way that a coverage-guided fuzzer finds."""
