"""Connections that nobody uses at this moment."""

from clustersession.net.idle_links import IdleLinks


class Link:
    """A connection that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_the_last_one_that_was_used_is_lent_first() -> None:
    idle, links = IdleLinks[Link](2), [Link(), Link()]
    assert idle.take() is None
    for link in links:
        idle.give(link)
    assert [idle.take() for _ in range(3)] == [*reversed(links), None]
    assert not any(link.is_closed for link in links)


def test_what_is_beyond_the_bound_is_closed_and_the_rest_at_the_end() -> None:
    idle, links = IdleLinks[Link](2), [Link() for _ in range(3)]
    for link in links:
        idle.give(link)
    assert [link.is_closed for link in links] == [False, False, True]
    idle.close()
    assert all(link.is_closed for link in links)
    assert idle.take() is None
