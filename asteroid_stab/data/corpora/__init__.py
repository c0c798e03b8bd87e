"""One module a corpus."""
