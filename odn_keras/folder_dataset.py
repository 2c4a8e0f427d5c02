"""Folders of images."""

import pathlib

import numpy as np

from odn_keras.errors import InputError
from odn_keras.fingerprint import key_of
from odn_keras.images import read_image
from odn_keras.source import Part, Source


def open_folder(path: pathlib.Path, image_size, grayscale) -> Source:
    parts = set(_class_folders(path))
    if not {"train", "test"} <= parts:
        classes = _class_folders(path)
        files = _image_files(path, classes)
        return Source(
            "folder", {"train": _folder_part(files, files[0], image_size, grayscale)}, dict(enumerate(classes))
        )
    if parts != {"train", "test"}:
        raise InputError(f"{path} has train and test folders, so {sorted(parts - {'train', 'test'})} cannot be classes")
    classes = _class_folders(path / "train")
    if extra := set(_class_folders(path / "test")) - set(classes):
        raise InputError(f"{path / 'test'} has classes that {path / 'train'} lacks: {', '.join(sorted(extra))}")
    files = _image_files(path / "train", classes)
    train = _folder_part(files, files[0], image_size, grayscale)
    test = _folder_part(_image_files(path / "test", classes), files[0], image_size or train.shape[:2], grayscale)
    return Source("folder", {"train": train, "test": test}, dict(enumerate(classes)))


def _entries(path: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read the folder {path} ({error.strerror})") from error


def _class_folders(path: pathlib.Path) -> list[str]:
    entries = _entries(path)
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise InputError(f"{entry} is a link that leads nowhere or in circles: take it away")
    classes = [entry.name for entry in entries if entry.is_dir()]
    if not classes:
        raise InputError(f"{path} has no sub-folders: put the images of each class into a folder of its own")
    return classes


_ImageFile = tuple[pathlib.Path, int]  # and its label


def _image_files(path: pathlib.Path, classes: list[str]) -> list[_ImageFile]:
    found = []
    for label, name in enumerate(classes):
        files = [entry for entry in _entries(path / name) if not entry.is_dir()]
        if not files:
            raise InputError(f"class folder {path / name} holds no images")
        for file in files:
            if not file.is_file():  # opening a pipe would wait for ever
                raise InputError(f"{file} is no regular file but a pipe, a device or a dead link: take it away")
            found.append((file, label))
    return found


def _folder_part(files: list[_ImageFile], first: _ImageFile, image_size, grayscale) -> Part:
    """The images of `files`, which must all be like the first one of the dataset."""
    channels = 1 if grayscale else None
    shape = read_image(first[0], image_size, channels).shape

    def chunks(_):
        for file, label in files:
            image = read_image(file, image_size, channels)
            if image.shape[-1] != shape[-1]:
                raise InputError(
                    f"images of different channel counts: {first[0]} has {shape[-1]}, {file} has {image.shape[-1]}; "
                    "use --grayscale or convert them"
                )
            if image.shape != shape:
                raise InputError(
                    f"images of different sizes: {first[0]} is {shape[:2]}, {file} is {image.shape[:2]}; "
                    "give --image_size"
                )
            yield image[np.newaxis], np.array([label]), np.array([key_of(file.read_bytes())], np.uint64)

    return Part(len(files), shape, chunks)
