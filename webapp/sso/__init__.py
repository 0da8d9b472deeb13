"""Single sign-on: providers, the way out and back, the session that follows, and its end."""
