"""Judging a check that failed on the default branch: is a change to blame, and what follows?"""
