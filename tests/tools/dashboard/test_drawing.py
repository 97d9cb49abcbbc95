"""The picture of the cluster."""

from clustersession.tools.dashboard.drawing import NODES_DRAWN_MAX, draw
from clustersession.tools.dashboard.rendering import render
from tests.tools.dashboard.hostile import member
from tests.tools.stores import away, reached


def test_any_number_of_nodes_is_drawn_or_counted() -> None:
    own = member("tomcat1")
    for count in (0, 1, 2, 3, 7, NODES_DRAWN_MAX, 100):
        others = [member(f"node{number}") for number in range(count)]
        for picture in draw(own, others):
            drawn = render("live/picture.html", pictures=[picture], has_store=False)
            assert drawn.count('class="box"') == min(count, NODES_DRAWN_MAX) + 1
            assert (f"and {count - NODES_DRAWN_MAX} more" in drawn) is (count > NODES_DRAWN_MAX)


def test_a_link_tells_how_far_who_is_behind() -> None:
    own = member("tomcat1")
    for lag, kind, label in (
        ({}, "alive", "in step"), ({"behind_us": 3}, "late", "↑3"),
        ({"behind_us": 3, "we_are_behind": 12_345}, "late", "↑3 ↓12k"),
        ({"behind_us": 3, "status": "dead"}, "dead", "no link"),
    ):
        for picture in draw(own, [member("a", **lag)]):
            (link,) = picture.links
            assert (link.kind, link.label) == (kind, label)


def test_with_a_store_that_is_the_middle_and_no_host_has_a_link_to_another() -> None:
    others = [member("b"), member("c", status="dead"), member("d", status="suspect")]
    for picture in draw(member("tomcat1"), others, reached(behind=3)):
        *nodes, store = picture.nodes
        assert [node.name for node in nodes if node.own] == ["tomcat1"]
        assert (store.name, store.first, store.own) == ("valkey:6379", "store · reached", False)
        middle = (store.x + store.width // 2, store.y + store.height // 2)
        assert {(link.x1, link.y1) for link in picture.links} == {middle}
        assert [(link.kind, link.label) for link in picture.links] == [
            ("late", "↑3"), ("alive", "reached"), ("dead", "no link"), ("suspect", "silent"),
        ]
        assert picture.label.startswith("The store is reached.")


def test_without_the_store_nothing_is_known_of_the_others() -> None:
    for store, own in ((away(), "away"), (reached(slow=True), "slow")):
        for picture in draw(member("tomcat1"), [member("b")], store):
            mine, other = picture.links
            assert mine.label == own
            assert other.label == ("not known" if own == "away" else "reached")


def test_with_a_store_any_number_of_nodes_is_drawn_or_counted() -> None:
    for count in (0, 1, 2, NODES_DRAWN_MAX - 1, NODES_DRAWN_MAX, 100):
        others = [member(f"node{number}") for number in range(count)]
        for picture in draw(member("tomcat1"), others, reached()):
            assert len(picture.nodes) - 1 + picture.left_out == count + 1
            assert len(picture.nodes) - 1 <= NODES_DRAWN_MAX
