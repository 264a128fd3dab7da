"""What the DAG files are made of: Airflow decides when and where, the library decides whether it is allowed."""
