"""Fuzzing of every entrance: what the pure reader makes of it, and what is answered over HTTP."""
