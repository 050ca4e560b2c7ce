"""What the bot does: a room for each playbook, and rooms for what they share.

Each playbook's `playbook.py` reads like the specification; its `plan.py` settles everything before
anything is touched, `work.py` is an incident of it under way, `text.py` is all that people read of
it, `records.py` is its papers. `judge` and `triage` decide which playbook follows from a red check
or an alert. Shared: `planning`, `undo`, `checks`, `incidents`, `words`, and for a change to the
repository `proposal`, for one to the traffic `candidate`. `run.py` is what all of them run on.
"""
