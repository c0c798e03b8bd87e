"""Measurements of time and memory beside the hosts: ``python -m bench NAME`` from a checkout."""
