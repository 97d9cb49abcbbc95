"""A node without peers."""


from clustersession.session.cluster_port import LocalOnly


async def test_local_only() -> None:
    alone = LocalOnly("a")
    alone.feed_moved(1)
    assert alone.route == "a"
    assert alone.serving_routes() == {"a"}
    assert alone.confirm(1)
    assert await alone.confirm_async(1)
    assert not alone.fetch("k")
    assert not await alone.fetch_async("k")
