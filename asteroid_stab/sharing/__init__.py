"""Trained models for others: programs that need no package of ours, and folders for a hub."""
