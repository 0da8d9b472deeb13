"""The face to people: sign-in, pages, streams, media, and the command that starts it all."""
