"""WSGIScriptAlias / /srv/shop/mod_wsgi_app.py process-group=shop application-group=%{GLOBAL}"""

from app import app as application

application.extensions["clustersession"].start(application)
