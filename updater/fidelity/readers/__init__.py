"""Who answers the questions from a user's vector."""
