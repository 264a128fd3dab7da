"""Who asks over HTTP and what they may read, found out as Feast's own servers do it."""

from collections.abc import Sequence

from feast import FeatureView
from feast.errors import FeastPermissionError
from feast.permissions.action import AuthzedAction

from updater.settings import Settings
from updater.store.feast_internals import check_permission, guard_requests
from updater.store.repository.connecting import explained, open_store


class Guard:
    """Checks tokens as `[auth]` says, and rights as they are registered at that moment.

    There is one per process, because Feast keeps it in variables of its modules.

    Args:
        settings: the config, with an `[auth]` other than `no_auth`.

    Raises:
        ConfigError: an option of `[auth]` is wrong.
        ServiceUnavailableError: the registry does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = open_store(settings)
        with explained(self._store.config):
            self.who_asks = guard_requests(self._store)
            """A dependency of FastAPI: answers with 401 where a request has no valid token."""

    def refusal(self, views: Sequence[str]) -> str | None:
        """Why the one who asks may not read all of these feature views online, as Feast says it; None if they may.

        Raises:
            ConfigError: a view is not registered.
            ServiceUnavailableError: the registry does not answer.
        """
        with explained(self._store.config):
            for name in views:
                view: FeatureView = self._store.get_feature_view(name)
                try:
                    check_permission(view, AuthzedAction.READ_ONLINE)
                except FeastPermissionError as error:
                    return str(error)
        return None
