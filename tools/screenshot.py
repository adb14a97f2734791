"""A picture of a page as Chromium shows it: ``python tools/screenshot.py URL OUT.png [--width 1280] [--dark]``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SETTLE_MS = 800  # fonts, and the charts' animation


def take(url: str, out: Path, width: int, height: int | None, dark: bool, scale: float) -> None:
    """Save the page at ``url`` as PNG: ``height`` pixels of it, or all when None."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        sys.exit("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height or 900},
            color_scheme="dark" if dark else "light",
            device_scale_factor=scale,
        )
        page.goto(url)
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=out, full_page=height is None)
        browser.close()


def main() -> None:
    """Take the picture the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, help="only this much of the page")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels per CSS pixel")
    parser.add_argument("--dark", action="store_true")
    args = parser.parse_args()
    take(args.url, args.out, args.width, args.height, args.dark, args.scale)


if __name__ == "__main__":
    main()
