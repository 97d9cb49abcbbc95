"""The picture of the cluster."""

from clustersession.tools.dashboard.drawing import NODES_DRAWN_MAX, draw
from clustersession.tools.dashboard.rendering import render
from tests.tools.dashboard.hostile import member


def test_any_number_of_nodes_is_drawn_or_counted() -> None:
    own = member("tomcat1")
    for count in (0, 1, 2, 3, 7, NODES_DRAWN_MAX, 100):
        others = [member(f"node{number}") for number in range(count)]
        for picture in draw(own, others):
            drawn = render("live/picture.html", pictures=[picture])
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
