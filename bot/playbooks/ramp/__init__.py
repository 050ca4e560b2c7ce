"""Ramp: the candidate gets more and more of the traffic, as long as nothing is odd."""
