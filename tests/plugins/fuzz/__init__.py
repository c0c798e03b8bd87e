"""Tries thousands of damaged inputs: ``make fuzz``, or ``PYTHONPATH=tests/plugins python -m fuzz``."""
