"""Who is served by whom: the split of traffic, its flag document, and what was observed of it.

For playbooks, in the order of a ramp:

- `evidence_log.open_log` begins to take observations, `allocation.set_traffic` splits the traffic.
  Both are database writes; what is committed is served at once.
- `evaluation.Evaluations.look` judges what was observed so far, as a value a step can record. The
  circuit breaker looks too, at every batch: on a breach it gives everything to the baseline before
  anybody else hears of it (`circuit_breaker.trip`), then wakes the Run.
- `evidence_log.enter_phase` with `allocation.set_traffic`, in one transaction: the next split.
- `evidence_log.close` ends it. Only then is a report written: nothing counts any more, so the same
  log gives the same bytes.
"""
