"""Turns Tomcat's configuration into settings of ours: ``clustersession import-tomcat``."""
