"""What the bot does: a room for each playbook, and rooms for what they share.

Each playbook's `playbook.py` reads like the specification; its `plan.py` settles everything before
anything is touched, `decide.py` says what is done next and why, `messages.py` is all that people
read of it, `report.py` is its decision record and artifact. `autorevert` and `alerts` decide which
playbook follows from a red check or an alert. Shared: `plan.py`, `undo.py`, `checks`, `incident`,
and for a change to the repository `pull_request`, for one to the traffic `rollout`. `run.py` is
what all of them run on.
"""
