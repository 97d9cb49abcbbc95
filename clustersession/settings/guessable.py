"""Decides whether a secret can be guessed by whoever can try guesses against what follows from it.

That is everybody who has a cookie, and everybody who reaches a port of the cluster. A secret passes
when enough of it is left without well-known words, repetitions and sequences. What a generator
makes of 128 bits always does; of 64 bits, one in some thousands is refused.
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
    "a-string-secret-at-least-256-bits-long", "5f4dcc3b5aa765d61d8327deb882cf99",
    "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "the-secret-made-above", "0123456789abcdef", "0123456789abcdef" * 2, "0123456789abcdef" * 4,
})
"""Examples from the documentation of frameworks, and from ours, and digests of nothing."""
_WELL_KNOWN = (
    "1q2w3e4r", "1q2w3e4r5t6y7u8i9o0p", "a1b2c3d4e5f6g7h8", "admin", "amet", "app",
    "application", "asdfghjkl", "base", "battery", "bits", "brown", "change", "changed",
    "changeme", "cluster", "company", "cookie", "correct", "debug", "default", "demo", "dev",
    "development", "django", "does", "dolor", "dont", "dummy", "easy", "example", "fake",
    "fastapi", "flask", "foobar", "for", "fox", "from", "guess", "hard", "here", "hex", "horse",
    "host", "insecure", "invalid", "ipsum", "jumps", "just", "keep", "key", "least", "letmein",
    "litestar", "local", "localhost", "long", "lorem", "make", "me", "must", "my", "name",
    "never", "not", "only", "openssl", "over", "pass", "passphrase", "passwd", "password",
    "please", "prod", "production", "project", "qazwsxedc", "quart", "quick", "qwerty",
    "qwertyuiop", "rand", "random", "replace", "safe", "sample", "secret", "secure", "server",
    "session", "set", "shop", "should", "sit", "some", "something", "staging", "staple",
    "starlette", "string", "super", "temp", "test", "testing", "text", "that", "the", "this",
    "token", "top", "unsafe", "use", "value", "very", "web", "welcome", "with", "word", "you",
    "your", "zxcvbnm",
)
_WORDS = re.compile("|".join(sorted(_WELL_KNOWN, key=len, reverse=True)))
_SEPARATORS = re.compile(r"[\s_.,:;!?'-]+")


def why_guessable(secret: str | bytes) -> str:
    """Say why a secret can be guessed; empty when it cannot. What is said shows nothing of it."""
    text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    if text.startswith(MARK):
        return (
            "it is derived from the web framework's secret key, which is short, well known, easy "
            "to guess, or made for development by Django's startproject"
        )
    if text.startswith(_DJANGO_INSECURE):
        return "Django's startproject made it for development"
    if text in _PUBLISHED:
        return "it is an example that stands in a documentation"
    if len(text) < SECRET_LENGTH_MIN:
        return f"it has fewer than {SECRET_LENGTH_MIN} characters"
    whole = text.casefold()
    rest = _WORDS.sub("", whole)
    # Among random bytes, what separates words in a text is as random as the others.
    rest = _SEPARATORS.sub("", rest) if text.isprintable() else rest
    if len(_unit_repeated(whole)) < SECRET_LENGTH_MIN or not _is_varied(_without_repetition(rest)):
        return "it is made of well-known words, repetitions or sequences"
    return ""


def _unit_repeated(text: str) -> str:
    """Return what the whole repeats, or the whole if there is not twice as much of it."""
    unit = _without_repetition(text)
    return unit if 2 * len(unit) <= len(text) else text


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
