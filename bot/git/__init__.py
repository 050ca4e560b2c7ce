"""Git on the host: mirrors, questions about history, reverts computed without a work tree."""
