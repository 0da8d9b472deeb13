"""Payments: our side of the provider."""
