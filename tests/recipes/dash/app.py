"""A page of Dash whose callbacks read and write the session."""

from dash import Dash, Input, Output, callback, dcc, html

from clustersession.flask import ClusterSession, session

app = Dash(__name__)
server = app.server
server.secret_key = "the secret of the cluster is in the environment"
ClusterSession(server)
app.layout = [
    dcc.Input(id="name"), html.Button("Add", id="add"), html.Div(id="user"), html.Div(id="cart"),
]


@callback(Output("user", "children"), Input("name", "value"), prevent_initial_call=True)
def log_in(name: str | None) -> str:
    if name:
        session.rotate()
        session["user"] = session.principal = name
    else:
        session.clear()
    return f"user={session.get('user')}"


@callback(Output("cart", "children"), Input("add", "n_clicks"), prevent_initial_call=True)
def add_to_cart(clicks: int) -> str:
    session["cart"] = session.get("cart", 0) + 1
    return f"{session.get('user')} has {session['cart']}"
