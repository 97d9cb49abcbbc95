"""The product ``clustersession import-tomcat``: Tomcat's configuration as settings of ours."""
