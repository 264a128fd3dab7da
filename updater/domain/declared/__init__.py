"""What a config declares, as frozen values that check themselves."""
