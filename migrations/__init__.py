"""Alembic's migrations; `atelier migrate` runs them."""
