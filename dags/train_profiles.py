"""Trains a model for texts, for the deployment that UPDATER_CONFIG names. An Airflow DAG: see docs/airflow.md."""

from updater.airflow.dags import train_profiles

dag = train_profiles()
