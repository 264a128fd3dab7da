"""Texts that a language model keeps, of the deployment that UPDATER_CONFIG names. Airflow DAG: docs/airflow.md."""

from updater.airflow.dags import profiles

dag = profiles()
