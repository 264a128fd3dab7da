"""A marketing model on the feature store: who will use a coupon next week? Run it after `make demo`, in the root.

Like the risk model, but of another domain, and with the counts of the modality summaries beside the embeddings. As long
as the embeddings come from untrained weights, AUC and KS are only a smoke test.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureStore
from labels import DAYS, TEST, TRAIN, auc_and_ks, did_later, is_held_out
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SCENARIOS = ("coupon_redemption", "private_label", "fuel_adoption")

# Feast's DuckDB reader uses an older name of a DuckDB function.
warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)


def coupon_labels(lake: str, as_of: pd.Timestamp) -> pd.DataFrame:
    """Households with a trip in the last four weeks: will they use a manufacturer's coupon in the next days?"""
    return did_later(lake, as_of, modality="trip", before=28, target="coupon", after=DAYS)


def inputs(frame: pd.DataFrame) -> np.ndarray:
    """The three marketing embeddings of each row side by side, and the logarithms of its counts of events."""
    vectors = [np.stack(frame[f"{scenario}_embedding"].to_list()).astype(np.float32) for scenario in SCENARIOS]
    counts = [name for name in sorted(frame.columns) if name.endswith("_num_events")]
    return np.hstack([*vectors, np.log1p(frame[counts].to_numpy(np.float32))])


def main() -> None:
    """Train, test, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", default="demo/lake", help="The event lake.")
    parser.add_argument("--state", default="demo/state", help="The state that `updater` keeps.")
    arguments = parser.parse_args()
    if not Path(arguments.state, "feature_store.yaml").exists():
        parser.exit(2, f"{arguments.state} holds no state; run `make demo`.\n")

    store = FeatureStore(repo_path="feature_repo", fs_yaml_file=f"{arguments.state}/feature_store.yaml")
    marketing = store.get_feature_service("marketing_v1")
    labels = pd.concat([coupon_labels(arguments.lake, as_of) for as_of in (TRAIN, TEST)])
    users = sorted(labels["user_id"].unique())

    online = store.get_online_features(marketing, [{"user_id": user} for user in users]).to_df()
    newest = pd.to_datetime(online["coupon_redemption_as_of"].max(), unit="s", utc=True)
    rows = store.get_historical_features(labels, marketing).to_df().dropna(subset="coupon_redemption_as_of")
    rows = rows.sort_values(["event_timestamp", "user_id"])  # the join keeps no order
    is_test, held_out = rows["event_timestamp"] == TEST, is_held_out(rows["user_id"])
    train, test = rows[~is_test & ~held_out], rows[is_test & held_out]
    if train.empty or not newest >= TEST:
        parser.exit(2, f"{arguments.state} does not reach from {TRAIN} to {TEST}; run `make demo`.\n")

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
    model.fit(inputs(train), train["label"])
    auc, ks = auc_and_ks(test["label"], model.predict_proba(inputs(test))[:, 1])
    version = rows["coupon_redemption_model_version"].iloc[-1]
    print(
        f"model   {version}{'; untrained weights: AUC and KS are only a smoke test' if 'untrained' in version else ''}"
    )
    print(f"train   {len(train):,} users at {TRAIN:%Y-%m-%d}; {train['label'].mean():.1%} used a coupon in {DAYS} days")
    print(f"test    {len(test):,} other users at {TEST:%Y-%m-%d}; {test['label'].mean():.1%} used one")
    print(f"AUC     {auc:.3f}, KS {ks:.3f}")

    asked = pd.DataFrame({"user_id": users, "event_timestamp": newest})
    offline = store.get_historical_features(asked, marketing).to_df().sort_values("user_id")
    equal = (inputs(online) == inputs(offline)).all(axis=1).sum()
    print(
        f"online  {equal:,} of {len(users):,} users' vectors equal the offline ones as of {newest:%Y-%m-%d %H:%M} UTC"
    )
    chances = pd.Series(model.predict_proba(inputs(online))[:, 1], index=users).nlargest(5)
    print(f"to be mailed first: {', '.join(f'{user} ({chance:.2f})' for user, chance in chances.items())}")


if __name__ == "__main__":
    main()
