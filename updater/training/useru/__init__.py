"""UserU: question-answer pairs about users, made from the event lake and checked against it."""
