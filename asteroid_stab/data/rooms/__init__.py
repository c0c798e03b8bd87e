"""Simulated rooms: their geometry, their impulse responses in one file, and what microphones in them hear."""
