"""Separation of recordings of any length, in bounded memory."""
