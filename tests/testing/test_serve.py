"""What a node of a test's cluster serves, and that it is a node of that cluster."""

import sys
from pathlib import Path
from typing import Any

import pytest

from clustersession.testing.serve import is_asgi, load_app, make_node_of
from clustersession.wsgi import ClusterSessionMiddleware

MODULE = """
def app(environ, start): ...
def create(): return app
async def on_asgi(scope, receive, send): ...
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "shop_to_serve.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shop_to_serve", raising=False)
    return load_app("shop_to_serve:app")


def test_an_application_is_named_as_for_a_server(shop: Any) -> None:
    assert load_app("shop_to_serve:create()") is shop
    for wrong in ("shop_to_serve", "shop_to_serve:nothing", "shop_to_serve:nothing()"):
        with pytest.raises(SystemExit, match=r'write "module:name" or "module:factory\(\)"'):
            load_app(wrong)


def test_asgi_is_told_from_wsgi(shop: Any) -> None:
    class OnAsgi:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    assert is_asgi(load_app("shop_to_serve:on_asgi"))
    assert is_asgi(OnAsgi())
    assert not is_asgi(shop)
    assert not is_asgi(ClusterSessionMiddleware(shop))


def test_the_cluster_of_the_test_stands_above_the_applications_settings(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ClusterSessionMiddleware(
        shop, distributable=False, route="production", state_dir="/var/lib/shop", agent="external",
        seeds="10.0.0.1:4000", metrics_port=9100, cookie_name="SHOP",
    )
    for name, value in {
        "ROUTE": "node1", "STATE_DIR": str(tmp_path), "DISTRIBUTABLE": "true",
        "SEEDS": "127.0.0.1:4001", "BIND": "127.0.0.1",
    }.items():
        monkeypatch.setenv(f"CLUSTERSESSION_{name}", value)
    make_node_of(app)
    settings = app.runtime.settings
    assert (settings.route, settings.state_dir) == ("node1", str(tmp_path))
    assert (settings.distributable, settings.agent, settings.metrics_port) == (True, "process", 0)
    assert settings.seeds == ("127.0.0.1:4001",)
    assert settings.cookie_name == "SHOP", "the rest is the application's"
