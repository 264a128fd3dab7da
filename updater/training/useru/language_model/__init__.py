"""A language model as the writer of questions and answers: prompts, replies, the generator."""
