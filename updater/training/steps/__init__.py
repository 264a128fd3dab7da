"""What every loop of steps needs: checkpoints, processes, precision, schedules, order, metrics."""
