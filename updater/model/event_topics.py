"""How many of a user's events are about what: counts per topic, where a topic is a region of the text vectors.

A mean text vector says what a user's events are about on average. Which few of hundreds of kinds a user buys is a
matter of counts, and their logarithms are no linear function of a mean.
"""

# T distinct texts, X text_dim, K topics, A events, B users

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear, normalize

from updater.errors import ConfigError
from updater.model.batch import Float64, ModalityBatch

SHARPNESS = 20.0
"""A text belongs to a topic by the softmax of its cosines times this: nearly to one, without a jump between two."""
SEED = 0
ROUNDS = 100


class EventTopics(nn.Module):
    """From text vectors (T, X) to how much each belongs to each of K topics (T, K), in rows that add up to 1.

    `fit` puts the topics' centres where the events of many users are; before that, they are random. Training leaves
    them.
    """

    def __init__(self, text_dim: int, num_topics: int) -> None:
        super().__init__()
        self.centres_KX: Tensor
        self.register_buffer("centres_KX", normalize(torch.randn(num_topics, text_dim), dim=1))

    def forward(self, texts_TX: Tensor) -> Tensor:
        """Shares (T, K)."""
        return torch.softmax(SHARPNESS * linear(texts_TX, self.centres_KX), dim=1)

    def fit(self, texts_TX: npt.NDArray[np.float32], num_events_T: npt.NDArray[np.int64]) -> None:
        """Take the centres of clusters of texts, in which a text counts by the square root of its events.

        With fewer texts than topics some topics are nobody's.

        Raises:
            ConfigError: scikit-learn is not installed.
        """
        num_topics = len(self.centres_KX)
        if not len(texts_TX) or not num_topics:
            return
        try:
            from sklearn.cluster import KMeans
            from threadpoolctl import threadpool_limits
        except ModuleNotFoundError:
            raise ConfigError("training needs scikit-learn; install it with `pip install 'updater[train]'`.") from None
        clusters = KMeans(min(num_topics, len(texts_TX)), n_init=1, max_iter=ROUNDS, random_state=SEED)
        # On several threads sums are added up in any order, and every process has to come to the same centres.
        with threadpool_limits(1):
            clusters.fit(texts_TX, sample_weight=np.sqrt(num_events_T))
        found_KX = torch.from_numpy(clusters.cluster_centers_.astype(np.float32))
        self.centres_KX.zero_()
        self.centres_KX[: len(found_KX)] = normalize(found_KX, dim=1)


def topic_counts(topics: EventTopics, part: ModalityBatch, run: Callable[[nn.Module, Tensor], Tensor]) -> Float64:
    """Events of each topic in each user's window, shape (B, K)."""
    num_topics = len(topics.centres_KX)
    if not num_topics or not len(part.text_rows_A):
        return np.zeros((len(part.num_events_B), num_topics))
    shares_TK = run(topics, torch.from_numpy(part.texts_TX).to(topics.centres_KX.device))
    rows, offsets = (torch.from_numpy(array).to(shares_TK.device) for array in (part.text_rows_A, part.text_offsets_B1))
    # A bag adds a user's rows in their order, whoever else is there.
    counts_BK = embedding_bag(rows, shares_TK, offsets, mode="sum", include_last_offset=True)
    result: Float64 = counts_BK.double().numpy(force=True)
    return result
