"""The model card: what a model is made of, in the form that Hugging Face shows (README.md with a YAML head)."""

from updater.model.config import ModelConfig

CARD = "README.md"


def model_card(config: ModelConfig, num_parameters: int, scenarios: list[str]) -> str:
    """The card of a model; equal models have equal cards.

    Args:
        config: the model's shape.
        num_parameters: of all weights that are stored.
        scenarios: names of those with a soft prompt.
    """
    modalities = "\n".join(f"| {m.name} | {m.max_events} | {m.num_numeric} |" for m in config.modalities)
    prompts = ", ".join(scenarios) or "none"
    return f"""---
library_name: updater
pipeline_tag: feature-extraction
tags:
- user-embeddings
---

# User model

Turns the buffered behaviour of a user and a question into one embedding of {config.embedding_dim} numbers and length 1
(Query as Anchor, arXiv 2602.14492). The embedding is the head's reading of two things: a causal language model's state
behind the user's prefix and the question, and statistics of the user's history that reach the head past the language
model, weighed by the question.

| | |
|---|---|
| backbone | {config.backbone} |
| text encoder | {config.text_encoder} ({config.text_encoder_version}) |
| embedding | {config.embedding_dim} float32 |
| parameters | {num_parameters:,} |
| soft prompts | {prompts} |

| modality | event tokens at most | numeric columns |
|---|---|---|
{modalities}

```python
from updater.model.user_model import UserModel

model = UserModel.from_pretrained("DIR")
```

Embeddings of different models are not comparable. What the model was trained on and how well it does are not stored
with it: keep the report of `updater model evaluate` beside it. What it says of users who are unlike those of its
training data is not known.
"""
