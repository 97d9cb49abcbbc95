"""An application whose users log in with Flask-Login."""

from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from clustersession.flask import ClusterSession

app = Flask(__name__)
app.secret_key = "not this one: CLUSTERSESSION_SECRET is set where this runs"
login_manager = LoginManager(app)
ClusterSession(app)  # before the LoginManager or after it


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


@login_manager.user_loader
def load_user(name: str) -> User:
    return User(name)


@app.post("/login")
def login() -> str:
    login_user(User(request.form["name"]))
    return "in"


@app.post("/logout")
def logout() -> str:
    logout_user()
    return "out"


@app.get("/")
def home() -> str:
    return current_user.id if current_user.is_authenticated else "nobody"
