"""A set of questions about users, made of the log: what is asked, with which options."""
