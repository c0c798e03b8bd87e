"""One training from config to run folder: composing, checking, building, describing it, and its files."""
