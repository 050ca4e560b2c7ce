"""pyparsing: Word(min=2) takes a single letter."""

import sys

sys.path.insert(0, ".")
import pyparsing

try:
    pyparsing.Word("abc", min=2).parseString("a", parseAll=True)
except pyparsing.ParseException:
    sys.exit(0)
sys.exit(1)
