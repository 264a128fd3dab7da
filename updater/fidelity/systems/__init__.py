"""What questions are answered from."""
