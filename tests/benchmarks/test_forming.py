"""The benchmark of nodes that start at once: a cluster that did not form misses its targets."""

from benchmarks.forming import Forming, Seen, result_of


def test_a_cluster_that_did_not_form_misses_every_target() -> None:
    storm = Seen(opened=17_000, links=2_000, lost=249)
    calm = Seen(opened=700, links=496)
    result = result_of([
        Forming(48, "multicast", 20.0, None, storm, 3.0, 9000.0),
        Forming(32, "seeds", 4.0, 4.9, calm, 0.9, 1500.0),
    ])
    assert [target.met for target in result.targets] == [False] * 4 + [True] * 4
    assert result.tables[0].rows[0][2] is None
