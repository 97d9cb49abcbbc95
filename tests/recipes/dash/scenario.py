"""Callbacks, as Dash's own JavaScript calls them, on both nodes."""

from tests.recipes.stand import Browser, Stand


def scenario(stand: Stand) -> None:
    """Fill the cart, log in, lose the node, go on, log out."""
    browser = stand.browser
    assert browser.get("/").status_code == 200
    assert call(browser, "cart.children", "add.n_clicks", 1) == "None has 1"
    planted = browser.session_cookie
    assert call(browser, "user.children", "name.value", "ann") == "user=ann"
    assert browser.session_cookie != planted, "a login makes a new id"
    assert call(browser, "cart.children", "add.n_clicks", 2) == "ann has 2"
    assert browser.node is stand.one
    stand.kill(stand.one)
    assert call(browser, "cart.children", "add.n_clicks", 3) == "ann has 3"
    assert browser.node is stand.two
    kept = browser.session_cookie
    assert call(browser, "user.children", "name.value", "") == "user=None"
    ended = stand.browser_holding(kept)
    assert call(ended, "cart.children", "add.n_clicks", 4) == "None has 1"


def call(browser: Browser, output: str, given: str, value: object) -> str:
    """Call a callback with one input; returns its output."""
    (output_id, output_property), (input_id, input_property) = output.split("."), given.split(".")
    reply = browser.post("/_dash-update-component", json={
        "output": output,
        "outputs": {"id": output_id, "property": output_property},
        "inputs": [{"id": input_id, "property": input_property, "value": value}],
        "changedPropIds": [given],
    })
    assert reply.status_code == 200, reply.text
    found: str = reply.json()["response"][output_id][output_property]
    return found
