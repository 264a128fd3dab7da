"""What shows the product and is none of it: the story of `updater demo`, and an Airflow of this machine's own."""
