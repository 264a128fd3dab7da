"""The page of `updater report` in Airflow, for the deployment that UPDATER_CONFIG names on the API server."""

from updater.airflow.plugin import report_plugin

report = report_plugin()
