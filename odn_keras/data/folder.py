"""Folders of images: a sub-folder a class, or folders train/, val/ and test/ of such.

Images may lie deeper in a class's folder. What is no image is left out and counted; what should be an image and
cannot be read is refused, all of it at once.
"""

import hashlib
import pathlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from odn_keras.data.images import UnreadableImage, image_shape, image_suffixes, read_image
from odn_keras.data.source import Part, Reading, Source
from odn_keras.errors import InputError
from odn_keras.utils.progress import Progress

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
OTHER_FOLDERS = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
NAMED = 3  # files, or classes, that a message names
LONGEST_REASON = 80


@dataclass(frozen=True)
class _ImageFile:
    path: pathlib.Path
    label: int
    shape: tuple[int, int, int]


@dataclass
class _Findings:
    """Files that are no readable images: paths relative to the folder of the dataset, bad images with the reason."""

    root: pathlib.Path
    bad: dict[str, str]
    no_images: list[str]
    deeper: list[str]
    beside: list[str]

    def name(self, path: pathlib.Path) -> str:
        return str(path.relative_to(self.root))

    def refuse_bad(self) -> None:
        if self.bad:
            some = _some([f"{name} ({reason[:LONGEST_REASON]})" for name, reason in self.bad.items()])
            raise InputError(f"{len(self.bad)} images in {self.root} cannot be read: {some}; mend or remove them")


def open_folder(path: pathlib.Path, reading: Reading) -> Source:
    """Opens a folder: reads the headers of all files, and decodes none.

    Args:
        path: the folder.
        reading: what every image becomes; without a size they must be of one, without `grayscale` they are read as
            three channels if any has colours.

    Raises:
        InputError: where the folder cannot be used.
    """
    findings = _Findings(root=path, bad={}, no_images=[], deeper=[], beside=[])
    folders = _split_folders(path)
    class_folders = {split: _class_folders(folder, findings) for split, folder in folders.items()}
    classes = sorted(class_folders["train"])
    for split, theirs in class_folders.items():
        if extra := sorted(set(theirs) - set(classes)):
            raise InputError(f"{folders[split]} has classes that {folders['train']} lacks: {', '.join(extra)}")
    files = _look_at(class_folders, classes, findings)
    every = [file for some in files.values() for file in some]
    with_images = {file.label for file in files["train"]}
    for label, name in enumerate(classes):
        if label not in with_images:
            _refuse_empty(class_folders["train"][name], findings)
    for split, some in files.items():
        if not some:
            _refuse_empty(folders[split], findings)
    if len(classes) == 1 and any(_folders_in(class_folders["train"][classes[0]])):
        inner = class_folders["train"][classes[0]]
        raise InputError(
            f"{path} has one class only ({classes[0]!r}): a classifier needs at least 2; "
            f"if the folders in {inner} are the classes, give that one"
        )
    channels = 1 if reading.grayscale else max(file.shape[2] for file in every)
    shape = (*(reading.size or _only_size(every, findings)), channels)
    parts = {split: _part(some, shape, reading, findings=findings) for split, some in files.items()}
    notes = _notes(every, channels, folders, findings=findings)
    return Source("folder", parts, dict(enumerate(classes)), notes=notes, check=findings.refuse_bad)


def read_images_below(path: pathlib.Path, shape: tuple[int, int, int], resize: str) -> np.ndarray:
    """All image files of a folder and of the folders in it, without classes.

    Args:
        path: the folder.
        shape: (height, width, channels) that every image becomes.
        resize: how: one of `odn_keras.data.resizing.RESIZES`.

    Returns:
        uint8 pixels of shape (n, height, width, channels).

    Raises:
        InputError: where there is no such folder, no image in it, or one that cannot be read.
    """
    if not path.is_dir():
        raise InputError(f"no such folder of images: {path}")
    files = [file for file in _files_below(path) if file.suffix.lower() in image_suffixes()]
    if not files:
        raise InputError(f"there is no image in {path}")
    height, width, channels = shape
    return np.stack([read_image(file, (height, width), channels, resize) for file in files])


def _split_folders(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folder of each split; of "train" only, where the sub-folders of `path` are classes."""
    folders = _folders_in(path)
    found: dict[str, pathlib.Path] = {}
    others = []
    for folder in folders:
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split is None:
            others.append(folder.name)
        elif split in found:
            raise InputError(f"{path} has two folders of {split} images, {found[split].name} and {folder.name}")
        else:
            found[split] = folder
    if not found or (others and len(found) == 1):
        return {"train": path}
    names = " and ".join(sorted(folder.name for folder in found.values()))
    if others:
        raise InputError(f"{path} has {names} folders, so {sorted(others)} cannot be classes")
    if "train" not in found:
        raise InputError(f"{path} has {names}, but no train folder beside")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _class_folders(path: pathlib.Path, findings: _Findings) -> dict[str, pathlib.Path]:
    findings.beside += [findings.name(entry) for entry in _entries(path) if entry.suffix.lower() in image_suffixes()]
    classes = {folder.name: folder for folder in _folders_in(path)}
    if not classes:
        raise InputError(f"{path} has no sub-folders: put the images of each class into a folder of its own")
    return classes


def _entries(path: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read the folder {path} ({error.strerror})") from error


def _folders_in(path: pathlib.Path) -> list[pathlib.Path]:
    entries = _entries(path)
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise InputError(f"{entry} is a link that leads nowhere or in circles: take it away")
    return [entry for entry in entries if entry.is_dir() and entry.name not in OTHER_FOLDERS]


def _files_below(path: pathlib.Path, above: tuple[pathlib.Path, ...] = ()) -> Iterator[pathlib.Path]:
    """All files of a folder and of the folders in it, except hidden ones."""
    real = path.resolve()
    if real in above:
        raise InputError(f"{path} is a link that leads nowhere or in circles: take it away")
    for entry in _entries(path):
        if entry.name in OTHER_FOLDERS:
            continue
        if entry.is_dir():
            yield from _files_below(entry, (*above, real))
        elif not entry.is_file():  # opening a pipe would wait for ever
            raise InputError(f"{entry} is no regular file but a pipe, a device or a dead link: take it away")
        else:
            yield entry


def _look_at(class_folders, classes: list[str], findings: _Findings) -> dict[str, list[_ImageFile]]:
    """The images of each split; those that do not even begin as one, and what is no image, become findings."""
    listed = [
        (split, label, class_folders[split][name], file)
        for split in class_folders
        for label, name in enumerate(classes)
        if name in class_folders[split]
        for file in _files_below(class_folders[split][name])
    ]
    found: dict[str, list[_ImageFile]] = {split: [] for split in class_folders}
    with Progress("looking at files", len(listed)) as progress:
        for split, label, folder, file in listed:
            progress.add(1)
            try:
                found[split].append(_ImageFile(file, label, image_shape(file)))
            except UnreadableImage as error:
                if error.is_image or file.suffix.lower() in image_suffixes():
                    findings.bad[findings.name(file)] = error.reason
                else:
                    findings.no_images.append(findings.name(file))
                continue
            if file.parent != folder:
                findings.deeper.append(findings.name(file.parent))
    return found


def _refuse_empty(folder: pathlib.Path, findings: _Findings) -> None:
    begin = f"{findings.name(folder)}/"
    if any(name.startswith(begin) for name in findings.bad):
        findings.refuse_bad()
    others = [name for name in findings.no_images if name.startswith(begin)]
    raise InputError(f"{folder} holds no images{f' that can be read here, but {_some(others)}' if others else ''}")


def _only_size(files: list[_ImageFile], findings: _Findings) -> tuple[int, int]:
    sizes = Counter(file.shape[:2] for file in files)
    if len(sizes) > 1:
        first = {size: next(file for file in files if file.shape[:2] == size) for size, _ in sizes.most_common(NAMED)}
        some = ", ".join(f"{h}x{w} ({sizes[h, w]}, as {findings.name(file.path)})" for (h, w), file in first.items())
        more = f" and {len(sizes) - NAMED} more" if len(sizes) > NAMED else ""
        raise InputError(f"images of different sizes in {findings.root}: {some}{more}; give --image_size")
    return files[0].shape[:2]


def _part(files: list[_ImageFile], shape: tuple[int, ...], reading: Reading, findings: _Findings) -> Part:
    def chunks(_):
        for file in files:
            try:
                with file.path.open("rb") as opened:
                    key = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=8)).digest()
                    opened.seek(0)
                    image = read_image(opened, reading.size, shape[2], resize=reading.resize)
            except UnreadableImage as error:
                findings.bad[findings.name(file.path)] = error.reason
            except OSError as error:
                findings.bad[findings.name(file.path)] = error.strerror or str(error)
            else:
                if image.shape == shape:
                    yield image[np.newaxis], np.array([file.label]), np.frombuffer(key, "<u8")
                else:
                    findings.bad[findings.name(file.path)] = f"{image.shape[0]}x{image.shape[1]} pixels when decoded"

    return Part(len(files), shape, chunks)


def _notes(files: list[_ImageFile], channels: int, folders, findings: _Findings) -> list[str]:
    notes = []
    if findings.no_images:
        some = _some(findings.no_images)
        convert = any(name.lower().endswith((".heic", ".heif", ".avif")) for name in findings.no_images)
        notes.append(
            f"{_count(findings.no_images, 'file')} in {findings.root} left out, being no images that can be read here: "
            f"{some}{' (convert HEIC and AVIF to JPEG)' if convert else ''}"
        )
    if findings.beside:
        notes.append(f"{_count(findings.beside, 'image')} left out, lying in no class folder: {_some(findings.beside)}")
    if findings.deeper:
        inner = sorted(set(findings.deeper))
        notes.append(f"{_count(findings.deeper, 'image')} in deeper folders read too: {_some(inner)}")
    grey = [findings.name(file.path) for file in files if file.shape[2] == 1]
    if grey and channels == 3:
        colour = [findings.name(file.path) for file in files if file.shape[2] == 3]
        because = (
            f", as {_some(colour)} {'has' if len(colour) == 1 else 'have'} colours" if len(colour) < len(grey) else ""
        )
        notes.append(f"{_count(grey, 'grey image')} read as colour{because}: {_some(grey)}")
    if "train" in folders and folders["train"] != findings.root and "test" not in folders:
        notes.append(f"{findings.root} has no test folder: 15 % of the training images become the test split")
    return notes


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(items: list, noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"
