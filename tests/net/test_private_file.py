"""A key reaches OpenSSL and leaves nothing behind."""

import glob
import os
import tempfile

import pytest

from tests.net.handshakes import contexts, handshake


@pytest.mark.parametrize("in_memory", [True, False])
def test_no_key_file_stays_behind(monkeypatch, tmp_path, in_memory) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptors = len(glob.glob("/proc/self/fd/*"))
    handshake(contexts("secret").server, contexts("secret").client)
    assert list(tmp_path.iterdir()) == []
    assert len(glob.glob("/proc/self/fd/*")) == descriptors
