"""Who is served by whom: the flagd document and OFREP."""
