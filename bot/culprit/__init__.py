"""Which commit is guilty? Pure: a graph and evidence in, next trials and a verdict out."""
