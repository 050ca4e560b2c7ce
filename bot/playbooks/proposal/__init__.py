"""One change proposed as a pull request: computed, published, followed, merged, settled."""
