"""An application whose users log in, and change their password, with Flask-Security."""

import os
from pathlib import Path

from flask import Flask
from flask_security import (
    Security,
    SQLAlchemyUserDatastore,
    auth_required,
    current_user,
    hash_password,
)
from flask_security.models import fsqla_v3 as fsqla
from flask_sqlalchemy import SQLAlchemy

from clustersession.flask import ClusterSession, session

app = Flask(__name__)
app.config.update(
    SECRET_KEY="the secret of the cluster is in the environment",
    SECURITY_PASSWORD_SALT="146585145368132386173505678016728509634",
    SECURITY_CHANGEABLE=True,
    SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
    SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{Path(os.environ['RECIPE_DIRECTORY']) / 'users.db'}",
)
db = SQLAlchemy(app)
fsqla.FsModels.set_db_info(db)


class Role(db.Model, fsqla.FsRoleMixin):
    pass


class User(db.Model, fsqla.FsUserMixin):
    pass


security = Security(app, SQLAlchemyUserDatastore(db, User, Role))
ClusterSession(app)


def add_users() -> None:
    with app.app_context():
        db.create_all()
        for name in ("ann", "bob"):
            security.datastore.create_user(
                email=f"{name}@example.org", password=hash_password(f"the password of {name}")
            )
        db.session.commit()


@app.get("/")
def home() -> str:
    return current_user.email if current_user.is_authenticated else "nobody"


@app.get("/account")
@auth_required()
def account() -> dict[str, object]:
    devices = session.cluster.sessions_of(current_user.fs_uniquifier)
    return {"is_theirs": session.principal == current_user.fs_uniquifier, "devices": len(devices)}


@app.post("/everywhere")
@auth_required()
def log_out_everywhere() -> str:
    session.cluster.end_all(current_user.fs_uniquifier)
    security.datastore.set_uniquifier(current_user)  # ends what remembers the user, too
    security.datastore.commit()
    return "out"
