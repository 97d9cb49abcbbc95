"""The feed goes out in parts that are cut short, and goes on at the first occasion."""

import pytest

from clustersession.core.feed import Cursor
from clustersession.node import sender
from clustersession.node.effects import Send
from clustersession.wire import messages as m
from tests.node.world import formed, key


def test_who_was_left_out_of_a_flush_gets_its_part_with_the_next_word_of_anybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "DELTAS_PER_FLUSH_MAX", 4)
    world = formed("abc", carrier="tcp")
    world.run(2)
    for number in range(6):
        world.write("a", key(number), create=True)
    world.run(1)
    a, b, c = (world.nodes[name] for name in "abc")
    peers = a.running.context.peers
    peers[b.replica.node].progress.resume(Cursor(0, 0))
    peers[c.replica.node].progress.resume(Cursor(2, 2))

    def receivers() -> list[bytes]:
        return [
            effect.node for effect in a.running.effects()
            if isinstance(effect, Send) and isinstance(m.decode_message(effect.data), m.Changes)
        ]

    a.running.sender.flush(world.at(a))
    assert receivers() == [c.replica.node], "the four changes for c are all for now"
    confirmed = m.Progress(Cursor(6, 6), False, False)
    a.running.sender.on_progress(peers[c.replica.node], confirmed, world.at(a))
    assert receivers() == [b.replica.node]
