"""A risk model on the feature store: who will not come back next week? Run it after `make demo`, in the project's root.

It learns from features as they were at the time of the label, is tested a week later on users it has not seen, and
scores from the online store. As long as the embeddings come from untrained weights, AUC and KS are only a smoke test.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureStore
from labels import DAYS, TEST, TRAIN, auc_and_ks, did_later, is_held_out, recency_frequency_money
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Feast's DuckDB reader uses an older name of a DuckDB function.
warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)

AMOUNTS = {"trip": "total", "item": "amount", "fuel": "amount", "coupon": "0"}
"""What plain counts look at: modalities, and their columns with money."""


def lapse_labels(lake: str, as_of: pd.Timestamp) -> pd.DataFrame:
    """Households with a trip in the last days: will they make none in the next?"""
    frame = did_later(lake, as_of, modality="trip", before=DAYS, target="trip", after=DAYS)
    return frame.assign(label=~frame["label"])


def embeddings(frame: pd.DataFrame) -> np.ndarray:
    """The three risk embeddings of each row side by side."""
    names = [f"{scenario}_embedding" for scenario in ("lapse", "spend_drop", "discount_dependence")]
    return np.hstack([np.stack(frame[name].to_list()).astype(np.float32) for name in names])


def main() -> None:
    """Train, test, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", default="demo/lake", help="The event lake.")
    parser.add_argument("--state", default="demo/state", help="The state that `updater` keeps.")
    arguments = parser.parse_args()
    if not Path(arguments.state, "feature_store.yaml").exists():
        parser.exit(2, f"{arguments.state} holds no state; run `make demo`.\n")

    store = FeatureStore(repo_path="feature_repo", fs_yaml_file=f"{arguments.state}/feature_store.yaml")
    risk = store.get_feature_service("risk_v1")
    labels = pd.concat([lapse_labels(arguments.lake, as_of) for as_of in (TRAIN, TEST)])
    users = sorted(labels["user_id"].unique())

    online = store.get_online_features(risk, [{"user_id": user} for user in users]).to_df()
    newest = pd.to_datetime(online["lapse_as_of"].max(), unit="s", utc=True)
    rows = store.get_historical_features(labels, risk).to_df().dropna(subset="lapse_as_of")
    rows = rows.sort_values(["event_timestamp", "user_id"])  # the join keeps no order
    is_test, held_out = rows["event_timestamp"] == TEST, is_held_out(rows["user_id"])
    train, test = rows[~is_test & ~held_out], rows[is_test & held_out]
    if train.empty or not newest >= TEST:
        parser.exit(2, f"{arguments.state} does not reach from {TRAIN} to {TEST}; run `make demo`.\n")

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
    model.fit(embeddings(train), train["label"])
    auc, ks = auc_and_ks(test["label"], model.predict_proba(embeddings(test))[:, 1])
    known = [recency_frequency_money(arguments.lake, part, AMOUNTS) for part in (train, test)]
    counts = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=1000))
    counts.fit(known[0], train["label"])
    counted, _ = auc_and_ks(test["label"], counts.predict_proba(known[1])[:, 1])
    version = rows["lapse_model_version"].iloc[-1]
    print(
        f"model   {version}{'; untrained weights: AUC and KS are only a smoke test' if 'untrained' in version else ''}"
    )
    print(f"train   {len(train):,} users at {TRAIN:%Y-%m-%d}; {train['label'].mean():.1%} did not come for {DAYS} days")
    print(f"test    {len(test):,} other users at {TEST:%Y-%m-%d}; {test['label'].mean():.1%} did not come")
    print(f"AUC     {auc:.3f}, KS {ks:.3f}")
    print(f"counts  {counted:.3f} AUC of recency, frequency and money on the same rows")

    asked = pd.DataFrame({"user_id": users, "event_timestamp": newest})
    offline = store.get_historical_features(asked, risk).to_df().sort_values("user_id")
    equal = (embeddings(online) == embeddings(offline)).all(axis=1).sum()
    print(
        f"online  {equal:,} of {len(users):,} users' vectors equal the offline ones as of {newest:%Y-%m-%d %H:%M} UTC"
    )
    chances = pd.Series(model.predict_proba(embeddings(online))[:, 1], index=users).nlargest(5)
    print(f"likely to lapse: {', '.join(f'{user} ({chance:.2f})' for user, chance in chances.items())}")


if __name__ == "__main__":
    main()
