"""What is kept for an event loop goes with it, however it ends."""

import asyncio
import gc

from clustersession.net.per_loop import PerLoop


class Table:
    """A table of texts, and what was released of it."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.texts: PerLoop[str] = PerLoop(lambda loop, text: self.released.append(text))

    def found(self) -> str | None:
        return self.texts.find(asyncio.get_running_loop())


async def test_a_loop_finds_what_it_has_kept_last() -> None:
    table = Table()
    assert table.found() is None
    await table.texts.keep("one")
    await table.texts.keep("another")
    assert table.found() == "another"
    assert len(table.texts) == len(table.texts.ends) == 1
    table.texts.close()
    assert table.released == ["another"]
    assert table.found() is None
    table.texts.close()
    assert table.released == ["another"]


def test_it_goes_with_a_loop_that_ends() -> None:
    table = Table()
    for text in ("one", "another"):
        asyncio.run(table.texts.keep(text))
    assert table.released == ["one", "another"]
    assert len(table.texts) == len(table.texts.ends) == 0


def test_it_goes_with_the_next_one_where_a_loop_was_closed_without_more_ado() -> None:
    table = Table()
    for text in ("one", "another", "a third"):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(table.texts.keep(text))
        loop.close()
    assert table.released == ["one", "another"]
    asyncio.run(table.texts.keep("a fourth"))
    assert table.released == ["one", "another", "a third", "a fourth"]
    del loop
    gc.collect()
    assert len(table.texts) == len(table.texts.ends) == 0
