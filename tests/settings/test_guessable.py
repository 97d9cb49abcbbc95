"""Which secrets can be guessed: what people write, and nothing that a generator made."""

import random
import string

import pytest

from clustersession.settings.framework import derive_secret
from clustersession.settings.guessable import why_guessable


@pytest.mark.parametrize("secret", [
    "dev", "secret", "changeme", "changemechangeme", "k" * 32, "bank" * 8, "ab" * 20, "0" * 64,
    "0123456789abcdef", "0123456789" * 4, "abcdefghijklmnopqrstuvwxyz", "super-secret-key-123",
    "my-very-secret-key-2024", "please change me in production", "your-secret-key-here",
    "django-insecure-6h#s7&k2v_9q!x0w@z^4n8b+c3m5p", "BAD_SECRET_KEY", "Password1234567890",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", "axaxxaxaxaaxxaxaax",
    "football2024football2024", "Welcome2024!Welcome2024!", "Welcome2024! Welcome2024! Welc",
    "a-string-secret-at-least-256-bits-long", "$(openssl rand -hex 32)", "qwertyuiopasdfghjkl",
    "1q2w3e4r5t6y7u8i9o0p", "correct horse battery staple", "the quick brown fox jumps over",
    "lorem ipsum dolor sit amet", "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "5f4dcc3b5aa765d61d8327deb882cf99", "a1b2c3d4e5f6g7h8",
    "the same on every host, as in any Flask application", b"_5#y2L\"F4Q8z\n\xec]/", "",
])
def test_what_people_write(secret: str | bytes) -> None:
    why = why_guessable(secret)
    assert why
    assert not secret or str(secret) not in why


def test_nothing_that_a_generator_makes() -> None:
    chance = random.Random(1)
    urlsafe = string.ascii_letters + string.digits + "-_"
    django = string.ascii_lowercase + string.digits + "!@#$%^&*(-_=+)"
    for alphabet, length in (
        (urlsafe, 43), (urlsafe, 22), (django, 50), (string.hexdigits[:16], 32),
        (string.hexdigits[:16], 64), (string.ascii_lowercase + "234567", 26),
    ):
        for _ in range(2000):
            made = "".join(chance.choices(alphabet, k=length))
            assert why_guessable(made) == "", made
    for length in (16, 24, 32):
        for _ in range(2000):
            assert why_guessable(chance.randbytes(length)) == ""


@pytest.mark.parametrize("made", [
    b".\xe9p\xf8'y_\xf7!\xf2B:\x0b\x1f\xa0a", b"=\xeeme\x85\xc6\xe7\xab\xbdY-y\x97\n-\x1c",
])
def test_random_bytes_with_many_of_the_characters_that_separate_words(made: bytes) -> None:
    assert why_guessable(made) == ""


def test_what_is_derived_from_a_guessable_key_still_tells() -> None:
    for key in ("dev", b"dev", "k" * 32):
        assert "web framework's secret key" in why_guessable(derive_secret(key))
    assert why_guessable(derive_secret("uX7_kq2PzN9-bR4vYt8mLw3sHj6dEa0C")) == ""
