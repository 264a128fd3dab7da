"""Model versions: adding one, computing its past, making it live."""
