"""Decides whether a secret can be guessed by whoever can try guesses against what follows from it.

That is everybody who has a cookie, and everybody who reaches a port of the cluster. A secret passes
when enough of it is left without well-known words, repetitions and sequences; what a generator
makes always does.
"""

import re
from itertools import pairwise

SECRET_LENGTH_MIN = 16
UNGUESSED_MIN = 8
"""As many characters as 16 random hexadecimal ones keep after their chance sequences, and fewer."""
DIFFERENT_MIN = 4

MARK = "guessable:"
"""Begins a secret that was derived from a guessable one, so that it can still be told."""

_DJANGO_INSECURE = "django-insecure-"
_PUBLISHED = frozenset({
    '_5#y2L"F4Q8z\n\xec]/', "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "A0Zr98j/3yX R~XHH!jmN]LWX/,?RT", "5791628bb0b13ce0c676dfde280ba245",
    "at least sixteen characters of randomness", "the same on every host",
    "the same on every host, as before", "the same on every host, as in any Flask application",
    "the-secret-made-above", "0123456789abcdef", "0123456789abcdef" * 2, "0123456789abcdef" * 4,
})
"""Examples from the documentation of frameworks, and from ours."""
_WELL_KNOWN = (
    "admin", "app", "application", "base", "change", "changed", "changeme", "cluster", "cookie",
    "debug", "default", "demo", "dev", "development", "django", "does", "dont", "dummy", "easy",
    "example", "fake", "fastapi", "flask", "for", "foobar", "from", "guess", "hard", "here",
    "host", "insecure", "invalid", "just", "key", "keep", "letmein", "litestar", "local",
    "localhost", "long", "make", "me", "must", "my", "never", "not", "only", "pass",
    "passphrase", "passwd", "password", "please", "prod", "production", "project", "qwerty",
    "quart", "random", "replace", "safe", "sample", "secret", "secure", "session", "server",
    "set", "shop", "should", "some", "something", "starlette", "string", "super", "temp",
    "test", "testing", "text", "that", "the", "this", "token", "top", "unsafe", "use", "value",
    "very", "web", "with", "word", "you", "your",
)
_WORDS = re.compile("|".join(sorted(_WELL_KNOWN, key=len, reverse=True)))
_SEPARATORS = re.compile(r"[\s_.,:;!?'-]+")


def why_guessable(secret: str | bytes) -> str:
    """Say why a secret can be guessed; empty when it cannot. What is said shows nothing of it."""
    text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    if text.startswith(MARK):
        return (
            "it is derived from the web framework's secret key, which is short, well known or "
            "easy to guess"
        )
    if text.startswith(_DJANGO_INSECURE):
        return "Django's startproject made it for development"
    if text in _PUBLISHED:
        return "it is an example that stands in a documentation"
    if len(text) < SECRET_LENGTH_MIN:
        return f"it has fewer than {SECRET_LENGTH_MIN} characters"
    if not _is_varied(_without_repetition(_SEPARATORS.sub("", _WORDS.sub("", text.casefold())))):
        return "it is made of well-known words, repetitions or sequences"
    return ""


def _without_repetition(text: str) -> str:
    """Return the shortest part of which the whole is a repetition, cut off at the end or not."""
    length = len(text)
    for part in range(1, length):
        if text[part:] == text[: length - part]:
            return text[:part]
    return text


def _is_varied(text: str) -> bool:
    """Tell whether enough characters differ, and do not follow from the ones before them."""
    steps = sum(abs(ord(b) - ord(a)) > 1 for a, b in pairwise(text))
    return steps + 1 >= UNGUESSED_MIN and len(set(text)) >= DIFFERENT_MIN
