"""The JSON API under /v1: what a creator does on the page, for programs with an API key."""
