"""The first day on a GitHub where nobody has run this yet: what is played, what is assumed."""
