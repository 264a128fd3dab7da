"""What each day's embeddings keep, of the deployment that UPDATER_CONFIG names. An Airflow DAG: see docs/airflow.md."""

from updater.airflow.dags import fidelity

dag = fidelity()
