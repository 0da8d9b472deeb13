"""Stripe in miniature, on loopback: a fake at the edge of the world, for trying and testing.

Context: a studio that sells seats and balance must be tried, tested and shown without an account at
Stripe, and without a network. Decision: our side speaks to Stripe through Stripe's own SDK and
nothing else; this package answers that SDK over HTTP, in the shapes of the SDK's type stubs, and
sends webhooks signed as Stripe signs them. No code on our side knows which of the two it talks to.
Consequence: what Stripe answers and we do not use is missing here; a parameter that this package
does not know is refused, so that a test cannot pass by sending something that nobody reads.
Rejected: a public mock (none of those tried has Checkout, idempotency keys and bind-to-loopback).

No money moves, whatever a page here says; each page says so. `app` builds it, `routes` lists what
it answers, `store` keeps it; each other file is one resource of Stripe's, or one act.
"""
