"""What the tasks of the DAGs call, one file for each DAG."""
