"""The daily update of the deployment that UPDATER_CONFIG names. An Airflow DAG: see docs/airflow.md."""

from updater.airflow.dags import daily_update

dag = daily_update()
