"""What a user's log says before and after an anchor day: events, measures, topics, and claims to check."""
