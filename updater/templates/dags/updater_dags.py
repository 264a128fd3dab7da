"""Airflow's DAGs of @NAME@. Copy or link this file into your DAG folder, and name the config by its full path there."""

from pathlib import Path

from updater.airflow.dags import (
    backfill,
    daily_update,
    fidelity,
    maintain_state,
    profiles,
    train_model,
    train_profiles,
)

CONFIG = str(Path(__file__).resolve().parents[1] / "updater.toml")

FIRST_DAY = "@FIRST_DAY@"  # first landing day that the schedule runs; days before it: updater backfill

daily = daily_update(CONFIG, dag_id="@NAME@_daily_update", namespace="@NAME@", first_day=FIRST_DAY)
missing = backfill(CONFIG, dag_id="@NAME@_backfill", namespace="@NAME@")
maintenance = maintain_state(CONFIG, dag_id="@NAME@_maintain_state")
reading = fidelity(CONFIG, dag_id="@NAME@_fidelity", namespace="@NAME@")
texts = profiles(CONFIG, dag_id="@NAME@_profiles", namespace="@NAME@")
training = train_model(CONFIG, dag_id="@NAME@_train_model")
text_training = train_profiles(CONFIG, dag_id="@NAME@_train_profiles")
