"""The log that cannot be bent unseen: every judgement and every change of rights, money and rules.

Each organisation has a chain of SHA-256 hashes over canonical JSON, and the studio has one for what
concerns them all. A row is written where it always was and linked a few seconds later, so that no
submit waits (`seal`). Words by or about people enter as salted hashes: a person can be forgotten
and the chain still verifies (`erasure`). Signed checkpoints that are kept elsewhere tell when the
end was cut off (`checkpoints`). `inspect` and `inspect_export` name the first row that was altered,
deleted, reordered, inserted or cut off; docs/safety.md says what they cannot see.

Called by the beat and by `atelier audit verify | export | checkpoint`.
"""

from licensing.chain.erasure import forget
from licensing.chain.inspection import Report, inspect, inspect_export
from licensing.chain.seal import seal

__all__ = ["Report", "forget", "inspect", "inspect_export", "seal"]
