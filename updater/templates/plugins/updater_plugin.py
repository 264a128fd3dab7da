"""The page about @NAME@ in Airflow. Copy or link this file into your plugins folder, and name the config in full."""

from pathlib import Path

from updater.airflow.plugin import report_plugin

CONFIG = str(Path(__file__).resolve().parents[1] / "updater.toml")

report = report_plugin(CONFIG, name="@NAME@", dag_id="@NAME@_daily_update")
