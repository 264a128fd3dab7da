"""Pure decisions: no torch, SQL, Arrow, Feast, Airflow, clock or disk."""
