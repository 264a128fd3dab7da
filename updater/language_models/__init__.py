"""Language models that others run, behind an endpoint, and those that run here: what all their users share."""
