"""What every step needs: the deployment, a process's session, the process pool, crash points."""
