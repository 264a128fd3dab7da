"""What Feast's `apply`, `delete` and `teardown` do to an online store, whichever it is."""

from collections.abc import Sequence
from typing import Any

from feast.infra.online_stores.online_store import OnlineStore

from updater.store.repository.deployment import prepare_sources


class OwnViews(OnlineStore):  # type: ignore[misc]
    """Takes the views of its own state only, and leaves nothing of a view that is deleted."""

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Feast's interface for creating and dropping what views need.

        Raises:
            ConfigError: a view that is registered has its rows in another state.
        """
        # `feast delete` hands a view over as one to keep and one to delete.
        deleted = {view.name for view in tables_to_delete}
        kept = [view for view in tables_to_keep if view.name not in deleted]
        prepare_sources(config, kept)
        super().update(config, tables_to_delete, kept, entities_to_delete, entities_to_keep, partial)
