"""For all tests: Hypothesis judges what a test finds, and not how fast this machine is just now."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
