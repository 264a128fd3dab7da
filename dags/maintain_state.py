"""Weekly checks and maintenance of the deployment that UPDATER_CONFIG names. An Airflow DAG: see docs/airflow.md."""

from updater.airflow.dags import maintain_state

dag = maintain_state()
