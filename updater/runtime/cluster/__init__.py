"""Jobs on the machines of a Ray cluster. Nothing else imports ray."""
