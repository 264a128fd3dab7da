"""How a user becomes tokens: question-anchored counts, and the paper's own layout."""
