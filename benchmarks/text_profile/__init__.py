"""What a short text about a user keeps, tells and costs, on public data."""
