"""What is owed: months of usage as files that finance can add up, and that never change again.

Context: an auditor downloads a bill twice, years apart, and compares the hashes. Code, libraries,
names and prices have changed between the two.
Decision: a month is *sealed* (nothing is dated into it any more), proved against the ledger, and
*closed*: its control totals and its files are stored, byte for byte, with their SHA-256. What turns
out wrong later is a line in the open month that points at the original.
Consequence: a closed month takes two thirds of its lines' room once more; re-export reads bytes
and renders nothing.
Rejected: rendering closed months anew from their lines. CSV would stay the same as long as somebody
keeps every old layout; Parquet changes with each release of its library.

Bills read usage lines, transfers and nothing else. `months` knows the calendar, `control` the
totals and the proof, `profiles` and `focus` the layouts, `render` the bytes, `close` and `exports`
are the two verbs.
"""

from licensing.bills.clock import ClockJumped
from licensing.bills.close import close_due, close_month, files, find_month
from licensing.bills.control import BooksDiffer, Totals
from licensing.bills.exports import Export, export, write_files
from licensing.bills.formats import FORMATS
from licensing.bills.months import InvalidMonth, month_before, month_bounds, read_month
from licensing.bills.tables import BillFile, BillMonth

__all__ = [
    "FORMATS",
    "BillFile",
    "BillMonth",
    "BooksDiffer",
    "ClockJumped",
    "Export",
    "InvalidMonth",
    "Totals",
    "close_due",
    "close_month",
    "export",
    "files",
    "find_month",
    "month_before",
    "month_bounds",
    "read_month",
    "write_files",
]
