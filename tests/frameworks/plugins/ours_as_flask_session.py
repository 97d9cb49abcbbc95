"""pytest plugin: Flask-Session's tests import our extension by Flask-Session's name."""

import sys
import types

from clustersession.flask import ClusterSession

module = types.ModuleType("flask_session")
module.Session = ClusterSession  # type: ignore[attr-defined]
sys.modules["flask_session"] = module
