"""What `updater new` copies: a config, a feature repository, DAGs, and a page with the next commands."""
