"""The audit chain, its anchors and keys, and whether it is whole."""
