"""The licensing floor: seats, agreements, prices, money, bills and verdicts.

It knows neither pictures nor pages. Who may generate, what that costs, what was refused and what
is owed is decided here, and nothing here imports from `inference` or `webapp`.
"""
