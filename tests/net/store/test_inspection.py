"""What may lose sessions is seen in a server's own words."""

from clustersession.net.store.inspection import fields_of_info


def test_the_words_of_info_are_read() -> None:
    assert fields_of_info(b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\nx\r\n") == {
        "# Memory": "", "maxmemory": "0", "maxmemory_policy": "allkeys-lru", "x": "",
    }  # fmt: skip
