"""The ledger: double entry, append-only, in two phases and in lots; integer microdollars.

A top-up moves money from an organisation's cash account to its wallet. A job first *holds* the most
it can cost, then is *settled* for what it did cost (wallet to revenue; the rest of the hold is free
again) or *released*. What must hold:

- A hold is resolved at most once, whoever comes first: worker, cancellation or sweep. One
  compare-and-set on its row decides, and the same statement moves the money.
- Check and act are one statement, or stand behind the wallet's lock: nothing here reads a balance
  without the lock, computes in Python and writes it back.
- `account.settled_micros` and `held_micros` are a cache for that statement. The truth is the
  transfers and the open holds; `licensing.audit` re-adds them.
- What came in is a *lot*; each spend names the lots that paid it. The lots of a wallet, with the
  credit lot below zero, add up to what is settled.
- Every movement has a key: the same key again returns the first transfer and moves nothing.
- Constraints and triggers keep these promises against a hand on the database, too.

Callers pass a session and commit. The wallet's row is the last lock of a transaction (its lots lie
behind it), because a busy wallet is one row: never hold it over network, GPU or file work.

    tables      what is stored            holds       hold, settle, release, expire
    statements  their SQL                 funds       top-up, grant, adjustment, lost dispute
    wallet      balance, freeze, limit    refunds     to the payer, or for a picture
    history     transfers, lots, spends   lots        which lot pays, and what runs out
"""

from licensing.ledger.funds import InvalidEntry, adjust, chargeback, grant, top_up
from licensing.ledger.history import Spend, lots, movements, spends_of, transfers, wallet_changes
from licensing.ledger.holds import (
    EXPIRED_AT_ONCE_MAX,
    HOLD_LIFETIME,
    InsufficientBalance,
    WalletFrozen,
    expire_holds,
    get_hold,
    hold,
    hold_and_commit,
    release,
    settle,
)
from licensing.ledger.lots import expire_lots
from licensing.ledger.refunds import refund_generation, refund_top_up, return_refund
from licensing.ledger.tables import Account, Hold, Lot, LotSpend, Transfer, WalletChange
from licensing.ledger.wallet import Balance, balance, freeze, set_credit_limit, unfreeze

__all__ = [
    "EXPIRED_AT_ONCE_MAX",
    "HOLD_LIFETIME",
    "Account",
    "Balance",
    "Hold",
    "InsufficientBalance",
    "InvalidEntry",
    "Lot",
    "LotSpend",
    "Spend",
    "Transfer",
    "WalletChange",
    "WalletFrozen",
    "adjust",
    "balance",
    "chargeback",
    "expire_holds",
    "expire_lots",
    "freeze",
    "get_hold",
    "grant",
    "hold",
    "hold_and_commit",
    "lots",
    "movements",
    "refund_generation",
    "refund_top_up",
    "release",
    "return_refund",
    "set_credit_limit",
    "settle",
    "spends_of",
    "top_up",
    "transfers",
    "unfreeze",
    "wallet_changes",
]
