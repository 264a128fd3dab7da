"""Trains, evaluates and promotes for the deployment that UPDATER_CONFIG names. An Airflow DAG: see docs/airflow.md."""

from updater.airflow.dags import train_model

dag = train_model()
