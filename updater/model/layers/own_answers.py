"""How likely the yes of a question is, by the embedding under that question: what training on dense labels learns."""

# S questions, X text_dim, E embedding_dim, K answers to a question

from torch import Tensor, nn


class OwnAnswers(nn.Module):
    """One map for all questions from an embedding to the answers of its own question.

    The answers are those of `updater.training.dense.labels.questions`; the first says whether it will happen at all.
    """

    def __init__(self, text_dim: int, embedding_dim: int, num_answers: int) -> None:
        super().__init__()
        self.answer = nn.Linear(embedding_dim, num_answers, bias=False)
        self.question = nn.Linear(text_dim, num_answers)

    def forward(self, readings: Tensor, questions_SX: Tensor) -> Tensor:
        """Log odds (…, S, K) less those among all users, which have to be added where they are known.

        Args:
            readings: of the head before they are brought to length 1, under each question, (…, S, E).
            questions_SX: the questions' vectors (`UserModel.question_vectors`).
        """
        logits: Tensor = self.answer(readings) + self.question(questions_SX)
        return logits
