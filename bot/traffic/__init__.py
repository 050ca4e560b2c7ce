"""Who is served by whom: the split of traffic, its flag document, and what was observed of it.

For playbooks, in the order of a ramp:

- `evidence_log.open_log` begins to take observations, `allocation.set_traffic` splits the traffic.
  Both are database writes; what is committed is served at once.
- `courses.Courses.look` judges what was observed so far, as a value a step can record. The guard
  looks too, at every batch: on a breach it gives everything to the baseline before anybody else
  hears of it (`tripping.trip`), then wakes the Run.
- `ledger.enter_phase` with `allocation.set_traffic`, in one transaction: the next split.
- `ledger.close` ends it. Only then is a report written: nothing counts any more, so the same
  ledger gives the same bytes.
"""
