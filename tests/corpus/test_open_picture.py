"""Opening pictures: what the web calls one becomes RGB on white, or an error with a word for it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.corpus.made_pictures import picture, saved, scene

from minna.corpus import pictures
from minna.corpus.pictures import BadPictureError, difference_hash, open_picture, storable

FILES = {
    "png": picture(1),
    "jpeg": picture(1, "JPEG"),
    "webp": picture(1, "WEBP"),
    "gif": picture(1, "GIF"),
    "bmp": picture(1, "BMP"),
}


def problem(content):
    with pytest.raises(BadPictureError) as caught:
        open_picture(content)
    assert caught.value.remedy
    return caught.value.problem


def outcome(content):
    try:
        return open_picture(content).mode
    except BadPictureError as error:
        return error.problem


def distance(one, other):
    return (difference_hash(one) ^ difference_hash(other)).bit_count()


def png_of(width, height):
    """A whole PNG of 8-bit greys that says it is so large, whatever it holds."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", FILES)
def test_each_format_opens_as_rgb(name):
    image = open_picture(FILES[name])
    assert image.mode == "RGB" and image.size == (48, 32)
    error = np.abs(np.asarray(image, float) - np.asarray(scene(1), float)).mean()
    assert error < 8  # JPEG, WebP and the palette of a GIF lose a little


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_stands_on_white(mode):
    image = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    image.paste((10, 20, 30, 255), (10, 0, 20, 10))
    content = saved(image.convert(mode))
    opened = open_picture(content)
    assert opened.getpixel((2, 2)) == (255, 255, 255)
    assert opened.getpixel((15, 5)) != (255, 255, 255)


def test_half_transparent_ink_is_mixed_with_the_paper():
    opened = open_picture(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 127))))
    assert opened.getpixel((3, 3)) == (128, 128, 128)


def test_a_transparent_colour_of_rgb_is_white_too():
    content = saved(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert open_picture(content).getpixel((0, 0)) == (255, 255, 255)


def test_inks_become_light():
    content = saved(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG")
    red, green, blue = open_picture(content).getpixel((10, 10))
    assert red > 240 and green < 15 and blue < 15


def test_sixteen_bits_keep_their_greys():
    grey = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    opened = np.asarray(open_picture(saved(Image.fromarray(grey))))[..., 0].reshape(-1)
    assert np.array_equal(opened, np.round(grey.reshape(-1) / 65535 * 255))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_a_film_is_the_picture(form):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    content = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=40)
    red, _, blue = open_picture(content).getpixel((8, 8))
    assert red > 200 and blue < 60


@pytest.mark.parametrize(
    ("turn", "size"), [(1, (48, 32)), (6, (32, 48)), (3, (48, 32)), (8, (32, 48))]
)
def test_exif_says_which_way_is_up(turn, size):
    exif = Image.Exif()
    exif[0x0112] = turn
    upright = open_picture(picture(2, "JPEG", quality=95))
    opened = open_picture(picture(2, "JPEG", exif=exif, quality=95))
    assert opened.size == size
    back = {1: 0, 6: 90, 3: 180, 8: 270}[turn]
    error = np.abs(np.asarray(opened.rotate(back, expand=True), float) - np.asarray(upright, float))
    assert error.mean() < 1


def test_broken_exif_is_no_broken_picture():
    content = picture(2, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert open_picture(content).size == (48, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_one_pixel_shows_nothing(size):
    assert problem(saved(Image.new("RGB", size))) == "too_small"


@pytest.mark.parametrize("side", [8_000, 20_000, 60_000])
def test_a_bomb_is_judged_by_its_header(side, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a pixel was unpacked")

    monkeypatch.setattr(Image.Image, "load", never)
    assert problem(png_of(side, side)) == "too_large"


def test_a_file_too_large_is_not_looked_into(monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 100)
    assert problem(picture(3)) == "too_large"


def test_bombs_of_text_do_not_go_off():
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    bomb = chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(80_000_000)))
    whole = picture(3)
    content = whole[:33] + bomb + whole[33:]
    assert problem(content) == "damaged"


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"hello", b"<svg/>", b"II*\x00" + bytes(50)])
def test_what_is_no_picture_is_told_apart(content):
    assert problem(content) in ("not_a_picture", "damaged")


def test_a_format_nobody_asked_for_is_not_opened():
    assert problem(picture(1, "TIFF")) == "not_a_picture"
    assert problem(picture(1, "PPM")) == "not_a_picture"


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "bmp"])
def test_a_cut_file_is_damaged(name):
    content = FILES[name]
    assert problem(content[: len(content) * 2 // 3]) == "damaged"


@given(
    name=st.sampled_from(sorted(FILES)),
    changes=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0.05, 1),
)
def test_any_broken_file_gives_a_picture_or_a_reason(name, changes, keep):
    content = bytearray(FILES[name])
    for place, value in changes:
        content[int(place * len(content))] = value
    told = outcome(bytes(content[: int(keep * len(content))]))
    assert told in ("RGB", "damaged", "not_a_picture", "too_large", "too_small")


def test_own_bytes_are_kept_and_others_become_png():
    for name in ("png", "jpeg", "webp"):
        assert storable(FILES[name]) is FILES[name]
    for name in ("gif", "bmp"):
        kept = storable(FILES[name])
        assert kept.startswith(b"\x89PNG")
        assert open_picture(kept).tobytes() == open_picture(FILES[name]).tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_copies_hash_alike_and_others_do_not(seed):
    image = scene(seed, size=(240, 160))
    copies = [
        image.resize((97, 64), Image.Resampling.BICUBIC),
        open_picture(saved(image, "JPEG", quality=50)),
        image.point(lambda value: value * 0.8 + 20),
    ]
    assert all(distance(image, copy) <= 2 for copy in copies)
    assert distance(image, scene(seed + 100, size=(240, 160))) > 8
    assert distance(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 8


def test_the_hash_reads_rows_from_the_highest_bit():
    ramp = Image.fromarray(np.tile(np.linspace(255, 0, 9, dtype=np.uint8), (8, 1)))
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(Image.new("RGB", (30, 30), "grey")) == 0
    top = np.zeros((8, 9), np.uint8)
    top[0, 0] = 200
    assert difference_hash(Image.fromarray(top)) == 1 << 63
