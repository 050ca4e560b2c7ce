"""What is asked of GitHub, a subject each; what is made is made exactly once."""
