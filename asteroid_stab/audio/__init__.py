"""Audio files: reading them, at any rate and length, and keeping them decoded."""
