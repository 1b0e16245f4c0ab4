"""Drawings out of packages: found by their code points, drawn as PNG on white at one size.

Vector drawings are drawn by resvg, which needs no system library, is given no fonts (a machine's
own fonts must not decide what a corpus looks like) and no files. Others are shrunk. The paper is
white and square, so that renderers differ in their style alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from minna.corpus.emoji_names import files_of, key_of_file
from minna.corpus.emoji_packages import Renderer
from minna.corpus.pictures import BadPictureError, as_png, open_picture
from minna.errors import DataError, MissingExtraError

Draw = Callable[[bytes], bytes]
_SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{body}</svg>'
)
_TURNED: Final = ("rotate", "hFlip", "vFlip")


def read_drawings(
    renderer: Renderer, archive: Path, keys: Iterable[str]
) -> Iterator[tuple[str, bytes]]:
    """Return key and content of those drawings that a package has, in the order of `keys`.

    Raises:
        DataError: the package is damaged, or has none of them.
    """
    if renderer.layout == "icons":
        found = _icons(archive)
    else:
        found = _files(archive, folder=renderer.folder, suffix=renderer.suffix)
    chosen = [(key, found[key]) for key in keys if key in found]
    if not chosen:
        raise DataError(
            f"{archive} holds none of the drawings that are looked for ({len(found)} others)",
            remedy="remove it and fetch it again",
        )
    yield from chosen


def _files(archive: Path, *, folder: str, suffix: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, content in files_of(archive, folder=folder, ending=suffix):
        key = key_of_file(name.removeprefix(folder).removesuffix(suffix))
        if key:
            found.setdefault(key, content)
    return found


def _icons(archive: Path) -> dict[str, bytes]:
    """Drawings of Iconify's layout: the bodies of all in one file, their code points in another."""
    files = dict(files_of(archive, folder="package/", ending=".json"))
    try:
        told: Any = json.loads(files["package/icons.json"])
        names: Mapping[str, str] = json.loads(files["package/chars.json"])
        return {
            key_of_file(points): _svg(told["icons"][name], told)
            for points, name in names.items()
            if name in told["icons"] and not any(told["icons"][name].get(t) for t in _TURNED)
        }
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{archive} is not of Iconify's layout: {error!r}", remedy="remove it and fetch again"
        ) from error


def _svg(icon: Mapping[str, Any], whole: Mapping[str, Any]) -> bytes:
    """An icon as a file of its own; what it does not say is said for all."""
    usual = {"left": 0, "top": 0, "width": 16, "height": 16}
    box = {name: icon.get(name, whole.get(name, number)) for name, number in usual.items()}
    return _SVG.format(body=icon["body"], **box).encode()


def drawer(*, pixels: int) -> Draw:
    """Return what draws a drawing (SVG, or a picture's bytes) as a square PNG on white.

    Raises:
        MissingExtraError: resvg is not installed.
    """
    _resvg()
    return functools.partial(_draw, pixels=pixels)


def _draw(content: bytes, *, pixels: int) -> bytes:
    from PIL import Image, ImageOps

    if b"<svg" in content[:1000]:
        content = _drawn(content, pixels)
    image = open_picture(content)
    if image.size != (pixels, pixels):
        image = ImageOps.pad(
            image, (pixels, pixels), method=Image.Resampling.LANCZOS, color="white"
        )
    return as_png(image)


def _drawn(content: bytes, pixels: int) -> bytes:
    try:
        return _resvg().svg_to_bytes(
            svg_string=content.decode(),
            width=pixels,
            height=pixels,
            background="white",
            skip_system_fonts=True,
        )
    except ValueError as error:
        raise BadPictureError(f"cannot be drawn: {error}", problem="undrawable") from error


def _resvg() -> Any:
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtraError("resvg-py", extra="vision") from error
    return resvg_py
