"""The daily step that has a language model keep users' texts: after the day's publishing, and in nobody's way."""
