"""From the lake and the state to a model: training data, pre-training, soft prompts."""
