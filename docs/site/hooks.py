"""The documentation site: the repository's pages where they lie, and a reference that is made from the program.

MkDocs calls these functions. The site mirrors the repository's folders, so that the links between pages, and from a
page to a config or a script, hold in both.
"""

import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import reference  # noqa: E402

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Every tracked page, what the pages link to, and the reference, in place of the folder that MkDocs reads."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    tracked = {name for name in names if name and (ROOT / name).is_file()}
    pages = {name for name in tracked if name.endswith(".md") and is_page(name)}
    linked = {target for page in pages for target in targets(page)} & tracked
    for name in sorted(pages | linked):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name, text in reference.pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def is_page(name: str) -> bool:
    """Pages are those of the root, of docs/ and of benchmarks/."""
    return "/" not in name or name.startswith(("docs/", "benchmarks/"))


def targets(page: str) -> set[str]:
    """Files that a page links to, relative to the root."""
    found = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    paths = [(folder / link).resolve() for link in LINK.findall(found)]
    return {str(path.relative_to(ROOT)) for path in paths if path.is_relative_to(ROOT)}
