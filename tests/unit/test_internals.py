"""What libraries do not offer as public is used in one file each, and is as it was when that file was written."""

import ast
import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INTERNALS = {
    "feast": "updater/store/feast_internals.py",
    "torch": "updater/model/layers/torch_internals.py",
    "apache-airflow": "updater/demo/airflow_internals.py",
}
USED = {**INTERNALS, "transformers": "updater/model/loading.py"}
"""Also what has a public name, but is in no page of the library."""
SIGNATURES = [
    ("feast", "feast.utils", "_get_unique_entities", "table join_key_values entity_name_to_join_key_map"),
    ("feast", "feast.utils", "_get_entity_key_protos", "entity_rows"),
    ("feast", "feast.infra.online_stores.helpers", "_mmh3", "key"),
    (
        "feast",
        "feast.infra.online_stores.online_store",
        "OnlineStore._read_features_per_fv",
        "self config grouped_refs join_key_values entity_name_to_join_key_map online_features_response "
        "full_feature_names include_feature_view_version_metadata",
    ),
    (
        "feast",
        "feast.infra.online_stores.online_store",
        "OnlineStore._read_features_per_fv_async",
        "self config grouped_refs join_key_values entity_name_to_join_key_map online_features_response "
        "full_feature_names include_feature_view_version_metadata",
    ),
    ("feast", "feast.infra.online_stores.sqlite", "SqliteOnlineStore._get_conn", "self config"),
    ("feast", "feast.infra.online_stores.sqlite", "SqliteOnlineStore._get_db_path", "config"),
    ("feast", "feast.infra.utils.postgres.connection_utils", "_get_conn", "config"),
    ("feast", "feast.infra.utils.postgres.connection_utils", "_get_connection_pool", "config"),
    (
        "feast",
        "feast.infra.online_stores.postgres_online_store.postgres",
        "PostgreSQLOnlineStore._get_conn",
        "self config autocommit",
    ),
    ("feast", "feast.infra.online_stores.redis", "RedisOnlineStore._get_client", "self online_store_config"),
    ("feast", "feast.infra.online_stores.redis", "RedisOnlineStore._read_hash_fields", "self config commands"),
    (
        "feast",
        "feast.infra.online_stores.redis",
        "RedisOnlineStore._get_features_for_entity",
        "self values feature_view requested_features",
    ),
    (
        "feast",
        "feast.infra.compute_engines.local.compute",
        "LocalComputeEngine._materialize_one",
        "self registry task kwargs",
    ),
    ("feast", "feast.infra.registry.proto_registry_utils", "get_feature_service", "registry_proto name project"),
    ("feast", "feast.permissions.security_manager", "assert_permissions", "resource actions"),
    ("feast", "feast.permissions.server.rest", "inject_user_details", "request"),
    ("feast", "feast.permissions.server.utils", "init_auth_manager", "server_type auth_type auth_config"),
    ("feast", "feast.permissions.server.utils", "init_security_manager", "auth_type fs"),
    ("feast", "feast.permissions.server.utils", "str_to_auth_manager_type", "value"),
    ("transformers", "transformers.initialization", "no_init_weights", ""),
    ("torch", "torch.cpu", "_is_amx_tile_supported", ""),
    ("torch", "torch.cpu", "_is_avx512_bf16_supported", ""),
]
PUBLIC = {"_replace", "_asdict", "_fields", "_exit", "_typeshed"}
"""Of named tuples, `os` and type stubs: documented, in spite of their names."""


def bounds(library: str) -> str:
    """The versions of a library that `pyproject.toml` permits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    [found] = {line for line in wanted if re.match(rf"{library}(\[[^]]*\])?[<>=~]", line)}
    return found


def changed(library: str, what: str) -> str:
    return f"{what} is not as it was: {library} {version(library)} of {bounds(library)}; look at {USED[library]}"


@pytest.mark.parametrize(("library", "module", "name", "wanted"), SIGNATURES)
def test_a_function_that_is_not_public_has_its_parameters(library: str, module: str, name: str, wanted: str) -> None:
    if module.endswith((".redis", ".postgres", ".connection_utils")):
        pytest.importorskip("redis" if module.endswith("redis") else "psycopg")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    assert found is not None, changed(library, f"{module}.{name}")
    assert " ".join(inspect.signature(found).parameters) == wanted, changed(library, f"{module}.{name}")


def test_feasts_values_that_are_not_public_are_there() -> None:
    from feast import feature_store, metrics
    from feast.infra.online_stores.sqlite import SqliteOnlineStore
    from feast.infra.registry.caching_registry import CachingRegistry

    assert metrics._config.online_features is False, changed("feast", "feast.metrics._config")
    assert SqliteOnlineStore._conn is None, changed("feast", "SqliteOnlineStore._conn")
    looked_up = inspect.getsource(CachingRegistry.get_feature_service)
    assert "proto_registry_utils.get_feature_service(" in looked_up, changed("feast", "CachingRegistry")
    # `print_with` shadows the builtin, which every function of the module looks up there first.
    assert "print(" in inspect.getsource(feature_store.FeatureStore), changed("feast", "FeatureStore's progress")


def test_torchs_products_that_are_not_public_are_there() -> None:
    import torch

    from updater.model.layers.torch_internals import has_packed_products, pack_weight, packed_product

    if torch.backends.mkldnn.is_available():
        assert has_packed_products(), changed("torch", "torch.ops.mkldnn._reorder_linear_weight")
        x, weight, bias = torch.randn(4, 8), torch.randn(3, 8), torch.randn(3)
        product = packed_product(x, pack_weight(weight, 4), bias)
        assert torch.allclose(product, x @ weight.T + bias, atol=1e-5), changed("torch", "_linear_pointwise")
    module = torch.nn.Linear(1, 1)
    assert dict(module.named_children()) == module._modules == {}, changed("torch", "Module._modules")


@pytest.mark.parametrize("library", USED)
def test_a_library_whose_internals_are_used_has_an_upper_bound(library: str) -> None:
    assert re.search(r"<\d|==\d+\.\d+\.\*", bounds(library)), bounds(library)


def product_files() -> list[Path]:
    return [path for path in sorted((ROOT / "updater").rglob("*.py")) if str(path.relative_to(ROOT)) not in own_files()]


def own_files() -> set[str]:
    return set(INTERNALS.values())


def is_private(name: str | None) -> bool:
    return bool(name) and name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def defined_names() -> set[str]:
    """Every private name that some file of the project defines."""
    names: set[str] = set()
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def foreign_names(path: Path, ours: set[str]) -> list[str]:
    """Private names of libraries that a file uses."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            # Of another object than self, a name of ours may still be a library's.
            if node.attr not in ours or (isinstance(node.ctx, ast.Store) and owner not in ("self", "cls")):
                found.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("updater"):
            modules = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [name for name in modules if is_private(name)]
        elif isinstance(node, ast.Import):
            found += [part for alias in node.names for part in alias.name.split(".") if is_private(part)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = [argument.value for argument in node.args[1:2] if isinstance(argument, ast.Constant)]
            if node.func.id in ("getattr", "hasattr", "setattr"):
                found += [text for text in texts if isinstance(text, str) and is_private(text)]
    return found


def test_no_other_file_uses_what_is_not_public() -> None:
    ours = defined_names()
    found = {str(path.relative_to(ROOT)): names for path in product_files() if (names := foreign_names(path, ours))}
    assert not found


def test_no_other_class_overrides_what_is_not_public() -> None:
    found = [
        f"{kind.__module__}.{kind.__name__}.{name} of {base.__module__}"
        for kind in store_classes()
        for name in vars(kind)
        for base in kind.__mro__
        if is_private(name) and base.__module__.startswith("feast") and name in vars(base) and name not in GENERATED
    ]
    assert not found


def store_classes() -> list[type]:
    """The classes that `updater.store` makes, but for those whose driver is not installed."""
    found = []
    for path in sorted((ROOT / "updater" / "store").glob("[!_]*.py")):
        module = f"updater.store.{path.stem}"
        if f"updater/store/{path.name}" in own_files() or not has(DRIVERS.get(path.stem, "feast")):
            continue
        found += [kind for kind in vars(importlib.import_module(module)).values() if inspect.isclass(kind)]
    ours = [kind for kind in found if kind.__module__.startswith("updater.store.")]
    return [kind for kind in ours if kind.__module__ != "updater.store.feast_internals"]


DRIVERS = {"online_redis": "redis", "online_postgres": "psycopg"}
GENERATED = {"_abc_impl"}


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
