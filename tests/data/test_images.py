import numpy as np
import pytest
from PIL import Image

from odn_keras.data.images import UnreadableImage, image_shape, read_image

NOISE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
COLOUR, GREY = Image.fromarray(NOISE), Image.fromarray(NOISE[..., 0])
DEEP = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 256 + 7)
TURNED = Image.Exif()
TURNED[274] = 6


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_turned_image_is_upright_once(tmp_path, suffix):
    file = tmp_path / f"turned.{suffix}"
    COLOUR.save(file, exif=TURNED, **({"lossless": True} if suffix == "webp" else {}))
    assert read_image(file).shape == image_shape(file) == (9, 6, 3)
    if suffix != "jpg":
        np.testing.assert_array_equal(read_image(file), np.rot90(NOISE, -1))


@pytest.mark.parametrize(
    ("image", "name", "options", "shape"),
    [
        (COLOUR, "a.png", {}, (6, 9, 3)),
        (COLOUR.convert("CMYK"), "a.tif", {}, (6, 9, 3)),
        (COLOUR.quantize(8), "a.gif", {"transparency": 0}, (6, 9, 3)),
        (GREY, "a.png", {"transparency": 3}, (6, 9, 1)),
        (GREY.convert("1"), "a.bmp", {}, (6, 9, 1)),
        (GREY.convert("LA"), "a.png", {}, (6, 9, 1)),
        (DEEP, "a.png", {}, (6, 9, 1)),
        (DEEP, "a.tif", {}, (6, 9, 1)),
        (DEEP, "a.pgm", {}, (6, 9, 1)),
    ],
)
def test_the_shape_is_known_without_decoding(tmp_path, image, name, options, shape):
    image.save(tmp_path / name, **options)
    assert image_shape(tmp_path / name) == read_image(tmp_path / name).shape == shape


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_become_the_upper_eight(tmp_path, name):
    DEEP.save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], NOISE[..., 0])


def test_transparency_of_every_kind_is_white(tmp_path):
    black = Image.new("RGB", (4, 4))
    black.quantize(2).save(tmp_path / "palette.gif", transparency=0)
    black.save(tmp_path / "colour.png", transparency=(0, 0, 0))
    black.convert("L").save(tmp_path / "grey.png", transparency=0)
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "alpha.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "alpha.webp")
    for file in tmp_path.iterdir():
        assert read_image(file).min() == 255, file


def test_a_file_of_another_content_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    with pytest.raises(
        UnreadableImage, match=r"cannot read the image .*a\.jpg \(no image of a known format"
    ) as refused:
        read_image(tmp_path / "a.jpg")
    assert not refused.value.is_image
    with pytest.raises(UnreadableImage, match=r"b\.jpg \(No such file"):
        image_shape(tmp_path / "b.jpg")
