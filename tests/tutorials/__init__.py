"""The tutorials of the documentation, typed word by word."""
