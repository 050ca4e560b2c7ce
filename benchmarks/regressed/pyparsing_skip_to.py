"""pyparsing: SkipTo drops what it was told to ignore."""

import sys

sys.path.insert(0, ".")
from pyparsing import SkipTo

wrapper = "a" + SkipTo("a") + "a"
expression = "*" + SkipTo("*", ignore=wrapper) + "*"
found = expression.parseString("*a_*_a*").asList()
sys.exit(0 if found == ["*", "a_*_a", "*"] else 1)
