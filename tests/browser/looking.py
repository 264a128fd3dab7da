"""A page as a reader sees it, in a real Chromium: what must not be on it, and a picture of it for whoever looks."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
PICTURES = Path(__file__).parents[2] / "build" / "pages"
"""Screenshots of the last run; git ignores them."""
WIDTHS = (1280, 390)
"""A desk and a telephone, in pixels."""
PATIENCE = 180_000
"""Milliseconds for a page to be there; a busy machine takes a while."""
SHOWN = Path(__file__).parents[2] / "docs" / "pictures"
"""What the documentation shows, of the width of a desk."""
COLORS = 128
"""Of such a picture, so that it stays small."""
KEEP_PICTURES = False
"""Whether the pictures of the documentation are made anew: the option `--pictures`."""
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
OBJECT = re.compile(r"\[\d|\['|\{'|\bNone\b|\bnan\b|\bNaN\b|\bundefined\b|<updater\.|<function|datetime\.|np\.float")
"""Text that looks like an object of a program and not like something that was written for a reader."""
_WIDER = """() => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.wide, svg') && e.getBoundingClientRect().right > window.innerWidth + 1)
    .map(e => e.tagName + ' ' + (e.textContent || '').trim().slice(0, 60))"""


def missing() -> str | None:
    """What it takes to look at a page and is not there."""
    if chromium() is None:
        return "no Chromium is on the path (Debian: apt-get install chromium)"
    return None if find_spec("playwright") else "the package playwright is not installed"


def chromium() -> str | None:
    """The program, from the path."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def opened() -> Iterator["Browser"]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def pictures() -> Path:
    """The directory of the screenshots, made if it is not there."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


def faults(
    browser: "Browser",
    file: Path,
    name: str,
    scheme: Scheme = "light",
    *,
    prose: bool = False,
    shown: Mapping[str, str] | None = None,
) -> list[str]:
    """What is wrong with a page; its pictures are kept as `<name>-<width>.png`, dark ones with `-dark` in between.

    Args:
        browser: where it is opened.
        file: the page.
        name: of its pictures.
        scheme: what the reader's system prefers.
        prose: it may quote what programs print.
        shown: pictures for the documentation, each with the heading that it begins with; empty for the page's top.
    """
    return [fault for width in WIDTHS for fault in _faults_at(browser, file, name, width, scheme, prose, shown or {})]


def keep_picture(page: "Page", name: str, heading: str = "") -> None:
    """What a window of the page shows as a picture for the documentation, if the run was asked to make them."""
    if not KEEP_PICTURES:
        return
    from PIL import Image

    if heading:
        page.locator("h2", has_text=heading).first.evaluate("element => element.scrollIntoView()")
    image = Image.open(BytesIO(page.screenshot())).convert("RGB")
    # The usual method merges colors that are rare, such as those of a legend.
    image.quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(SHOWN / f"{name}.png", optimize=True)


def _faults_at(
    browser: "Browser", file: Path, name: str, width: int, scheme: Scheme, prose: bool, shown: Mapping[str, str]
) -> list[str]:
    found: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda said: found.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: found.append(f"script: {error}"))
    page.on("requestfailed", lambda request: found.append(f"not there: {request.url[:80]}"))
    page.on("request", lambda request: found.append(f"fetched: {request.url}") if request.url[:4] == "http" else None)
    page.goto(file.resolve().as_uri())
    found += [*([] if prose else _values(page)), *_layout(page)]
    if scheme == "dark":
        found += [f"too little contrast: {said}" for said in page.evaluate(_PALE)]
    dark = "-dark" if scheme == "dark" else ""
    page.screenshot(path=pictures() / f"{name}{dark}-{width}.png", full_page=True)
    if width == WIDTHS[0] and scheme == "light":
        for picture, heading in shown.items():
            keep_picture(page, picture, heading)
    context.close()
    return [f"at {width} pixels: {fault}" for fault in found]


def _values(page: "Page") -> Iterator[str]:
    text = page.inner_text("body")
    yield from (f"looks like an object: {text[max(0, m.start() - 30) : m.end() + 30]!r}" for m in OBJECT.finditer(text))
    for cell in page.locator("td, th").all_inner_texts():
        if re.search(r"[\[\]{}]", cell):
            yield f"a cell has brackets: {cell[:80]!r}"
        if not cell.strip():
            yield "a cell is empty"


def _layout(page: "Page") -> Iterator[str]:
    if not page.title() or page.locator("h1").count() != 1:
        yield "it needs a title and one heading"
    yield from (f"an image is broken: {alt}" for alt in page.evaluate(_BROKEN))
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        yield f"it scrolls sideways: {page.evaluate(_WIDER)[:3]}"


_BROKEN = "() => [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
_PALE = """() => {
    const parts = color => (color.match(/[\\d.]+/g) || []).map(Number);
    const light = color => {
        const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = parts(color).map(v => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = e => {
        for (; e; e = e.parentElement) {
            const color = parts(getComputedStyle(e).backgroundColor);
            if (color.length === 3 || color[3] > 0) return getComputedStyle(e).backgroundColor;
        }
        return 'rgb(255, 255, 255)';
    };
    const pale = [];
    for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && /[\\p{L}\\p{N}]/u.test(n.textContent));
        if (!own || e.tagName === 'title') continue;
        const style = getComputedStyle(e);
        const [a, b] = [light(e.closest('svg') ? style.fill : style.color), light(behind(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) pale.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(1));
    }
    return pale.slice(0, 3);
}"""
