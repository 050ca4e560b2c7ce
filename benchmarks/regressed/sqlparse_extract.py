"""sqlparse: the space after FROM is lost in an EXTRACT with a time zone."""

import sys

sys.path.insert(0, ".")
import sqlparse

SQL = "SELECT extract(HOUR from from_unixtime(hour_ts) AT TIME ZONE 'America/Los_Angeles') FROM t"
sys.exit(1 if "fromfrom" in sqlparse.format(SQL, reindent=True) else 0)
