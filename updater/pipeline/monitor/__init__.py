"""How the daily job does: status, health, verification, metrics, lineage, audit."""
