"""Mixture lists: which utterances, at which levels."""
