"""What Airflow does not offer as public is as it was when `airflow_internals` was written."""

import inspect

import pytest

from tests.unit.test_internals import changed

pytestmark = pytest.mark.airflow


def test_airflows_functions_that_are_not_public_have_their_parameters() -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG
    from airflow.utils.db import initdb

    parameters = inspect.signature(DagBag).parameters
    assert next(iter(parameters)) == "dag_folder", changed("apache-airflow", "DagBag")
    assert "bundle_name" in parameters, changed("apache-airflow", "DagBag")
    required = [each for each in inspect.signature(initdb).parameters.values() if each.default is each.empty]
    assert not required, changed("apache-airflow", "airflow.utils.db.initdb")
    assert {"logical_date", "run_conf"} <= set(inspect.signature(DAG.test).parameters), changed(
        "apache-airflow", "test"
    )


def test_the_parts_of_airflows_health_have_their_names() -> None:
    from airflow.api_fastapi.core_api.datamodels.monitor import HealthInfoResponse

    from updater.demo.airflow_internals import HEALTHY_PARTS

    assert set(HEALTHY_PARTS) == set(HealthInfoResponse.model_fields), changed("apache-airflow", "monitor/health")
