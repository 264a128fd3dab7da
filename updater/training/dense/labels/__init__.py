"""Dense labels: which questions are asked, and what came of each for every profile."""
