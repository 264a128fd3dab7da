"""docs/own_lake.md, followed from its first block to its last in an empty folder."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_docs import shell_script

PAGE = Path(__file__).parents[2] / "docs" / "own_lake.md"
BLOCK = re.compile(
    r"^<!-- (?:test: \w+|file: (?P<file>\S+)) -->\n+```\w+\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@pytest.mark.slow
def test_from_exports_to_features(tmp_path):
    """What the page prints of the exports and the lake is what comes out; both users are served."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ["PATH"]])}
    script = "set -euo pipefail\n"
    page = PAGE.read_text(encoding="utf-8")
    for block in BLOCK.finditer(page):
        if block["file"]:
            script += f"cat > {tmp_path}/{block['file']} <<'END OF FILE'\n{block['body']}END OF FILE\n"
        else:
            script += shell_script(block["body"])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for line in ("3,954 page views, 780 orders", "landed 2026-02-01 to 2026-05-31"):
        assert line in page and line in done.stdout
    assert "0 differences" in done.stdout
    # curl ends no line: before the answer stands that about health, behind it what the next command prints.
    served, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index('{"results"') :])
    names = served["metadata"]["feature_names"]
    embeddings = served["results"][names.index("tea_embedding")]["values"]
    assert [len(embedding) for embedding in embeddings] == [128, 128]
    assert re.search(r"^AUC of \d+ users: 0\.\d\d$", done.stdout, re.MULTILINE)
