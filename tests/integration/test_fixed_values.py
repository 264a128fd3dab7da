"""Config values that the state rests on cannot change behind its back."""

from collections.abc import Callable

import pytest

from tests.factories import MODALITIES
from updater.errors import ConfigError
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_context
from updater.settings import Settings

OTHER_TEXT = {**MODALITIES[0], "text": "{merchant}"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"timezone": "Asia/Tokyo"}, "timezone is 'Asia/Tokyo'"),
        ({"buffer": {"num_buckets": 8}}, "buffer.num_buckets is '8'"),
        (
            {"modalities": [{**MODALITIES[0], "text": "{merchant}"}, *MODALITIES[1:]]},
            "modality.bill has another kind, text",
        ),
    ],
)
def test_a_changed_value_is_refused(make_settings: Callable[..., Settings], change: dict, named: str) -> None:
    initialize(make_settings())
    changed = make_settings(**change)
    with pytest.raises(ConfigError, match=named):
        open_context(changed)
    with pytest.raises(ConfigError, match=named):
        initialize(changed)
