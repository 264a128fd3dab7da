"""A risk score explained in words, by the textual profile beside it. Run it after `make demo`, in the root.

The score is that of risk_model.py, from embeddings, which nobody can read. A linear model on what the profiles say
(such as `buys no longer "BEEF"`) learns to give the same scores; how far it succeeds is printed, and is as far as its
reasons can be believed. What it says of a household is what of its profile moves its score, and is no cause.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureStore
from labels import TRAIN, is_held_out
from risk_model import embeddings, lapse_labels
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PROFILE = "user_text_profile_v1:profile_text"
NUM_REASONS = 3
FEWEST = 5
"""Households of which something has to be said for it to be a reason."""

# Feast's DuckDB reader uses an older name of a DuckDB function.
warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)


def said(text: str) -> list[str]:
    """What a profile says, a piece for each value: `buys regularly "BEEF"`. Values hold no double quotes."""
    pieces, noun, kind = [], "", ""
    parts = text.split('"')
    for before, value in zip(parts[:-1:2], parts[1::2], strict=True):
        if before == " to ":
            kind = "shifted to"
        elif before.startswith("; "):
            kind = before.removeprefix("; ").strip()
        elif before != ", ":
            noun, _, kind = before.removeprefix(". ").partition(": ")
        pieces.append(f'{noun} {kind.strip()} "{value}"')
    return pieces


def main() -> None:
    """Score, learn the scores from words, explain the highest ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", default="demo/lake", help="The event lake.")
    parser.add_argument("--state", default="demo/state", help="The state that `updater` keeps.")
    arguments = parser.parse_args()
    if not Path(arguments.state, "feature_store.yaml").exists():
        parser.exit(2, f"{arguments.state} holds no state; run `make demo`.\n")

    store = FeatureStore(repo_path="feature_repo", fs_yaml_file=f"{arguments.state}/feature_store.yaml")
    risk = store.get_feature_service("risk_v1")
    labels = lapse_labels(arguments.lake, TRAIN)
    rows = store.get_historical_features(labels, risk).to_df().dropna(subset="lapse_as_of").sort_values("user_id")
    if rows.empty:
        parser.exit(2, f"{arguments.state} does not reach {TRAIN}; run `make demo`.\n")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
    model.fit(embeddings(rows), rows["label"])

    users = sorted(labels["user_id"].unique())
    asked = [{"user_id": user} for user in users]
    texts = pd.Series(store.get_online_features([PROFILE], asked).to_dict()["profile_text"], index=users)
    online = store.get_online_features(risk, asked).to_df().set_index("user_id")
    known = [user for user in users if texts[user] is not None and online["lapse_as_of"].notna()[user]]
    scores = pd.Series(model.decision_function(embeddings(online.loc[known])), index=known)

    words = CountVectorizer(analyzer=said, binary=True, min_df=FEWEST)
    matrix = words.fit_transform(texts[known]).toarray()
    held_out = is_held_out(pd.Series(known)).to_numpy()
    surrogate = RidgeCV(alphas=np.logspace(0, 3, 7)).fit(matrix[~held_out], scores[~held_out])
    explained = r2_score(scores[held_out], surrogate.predict(matrix[held_out]))
    print(f"words   {matrix.shape[1]} that profiles of at least {FEWEST} of {len(known):,} households say")
    print(f"R2      {explained:.2f} of the score of {held_out.sum():,} other households is in the words")
    moves = (matrix - matrix[~held_out].mean(axis=0)) * surrogate.coef_
    for user in scores.nlargest(NUM_REASONS).index:
        row = known.index(user)
        order = [place for place in np.argsort(-moves[row]) if matrix[row, place] and moves[row, place] > 0]
        reasons = [f"{words.get_feature_names_out()[place]} ({moves[row, place]:+.2f})" for place in order]
        print(f"\n{user}: may lapse with {1 / (1 + np.exp(-scores[user])):.2f}")
        print(f"  because of  {'; '.join(reasons[:NUM_REASONS]) or 'nothing that its profile says'}")
        print(f"  profile     {texts[user]}")


if __name__ == "__main__":
    main()
