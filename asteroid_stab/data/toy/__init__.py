"""The embedded corpus: sentences spoken by eSpeak NG."""
