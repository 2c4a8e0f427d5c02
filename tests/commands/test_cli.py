"""What the commands share, without any of them."""

import errno
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

from odn_keras import InputError, cli, export, train
from odn_keras.utils import keras_config


@pytest.fixture
def command(run_command, monkeypatch):
    """Runs the training command with another main: (exit status, stdout, stderr)."""

    def run(main, *arguments):
        monkeypatch.setattr(train, "main", main)
        return run_command(train, *arguments)

    return run


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("no such thing"), "no such thing"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "Permission denied: /data"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/data"), "No such file: /data"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "No space left on device: runs/x"),
    ],
)
def test_what_a_user_can_mend_is_one_line(command, error, line):
    assert command(failing(error)) == (2, "", f"error: {line}\n")


@pytest.mark.parametrize(
    "error",
    [
        OSError("Unable to synchronously open file"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        OSError(errno.EBADF, "Bad file descriptor"),
        ChildProcessError(errno.ECHILD, "No child processes"),
    ],
    ids=repr,
)
def test_a_bug_keeps_its_traceback(command, error):
    with pytest.raises(type(error), match=str(error).replace("[", r"\[")):
        command(failing(error))


def test_a_tilde_is_the_home_folder_in_every_path_flag(command, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "flags.txt").write_text("--teacher=~/teacher.keras\n")
    seen = {}

    def main():
        seen.update({name: flags.FLAGS[name].value for name in ("out", "dataset", "data_dir", "teacher")})

    arguments = "--out=~/runs/mine", "--dataset", "~/images", "--data_dir=~", f"--flagfile={tmp_path}/flags.txt"
    assert command(main, *arguments)[0] == 0
    assert seen == {
        "out": "/home/me/runs/mine",
        "dataset": "/home/me/images",
        "data_dir": "/home/me",
        "teacher": "/home/me/teacher.keras",
    }


def test_a_flagfile_may_have_a_byte_order_mark_comments_and_other_flagfiles(command, tmp_path):
    (tmp_path / "more.txt").write_bytes(b"\xef\xbb\xbf--width=8\r\n")
    lines = ["\ufeff# mine", "", "// too", "  --seed=3", f"--flagfile={tmp_path}/more.txt", "--epochs", "5"]
    (tmp_path / "flags.txt").write_text("\n".join(lines), encoding="utf-8")
    seen = []

    def main():
        seen.append(cli.option_values(given_only=True))

    assert command(main, "--width=4", "--flagfile", f"{tmp_path}/flags.txt", "--seed=9")[0] == 0
    assert seen == [{"width": 8, "seed": 9, "epochs": 5}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the flagfile"),
        (b"--width=\xff\xfe", "no UTF-8 text"),
        (b"--flagfile=FILE", "includes itself"),
        (b"--flagfile=", "needs the path"),
    ],
)
def test_a_bad_flagfile_is_one_line_and_nothing_besides(command, tmp_path, content, words):
    path = tmp_path / "flags.txt"
    if content is not None:
        path.write_bytes(content.replace(b"FILE", str(path).encode()))
    status, printed, error = command(lambda: 0, f"--flagfile={path}")
    assert (status, printed, error.count("\n")) == (2, "", 1) and words in error and error.startswith("error: ")


@pytest.mark.parametrize(
    ("variable", "content", "words"),
    [
        (None, '{"backend": "theano"}', "'theano', by .*keras.json.*tensorflow, jax, torch"),
        ("pytorch", "{}", "'pytorch', by the variable KERAS_BACKEND"),
        ("numpy", '{"backend": "jax"}', "'numpy', by the variable KERAS_BACKEND"),
        ("openvino", "{}", "'openvino'"),
        (None, '{"floatx": "float16"}', "floatx is 'float16', by .*keras.json"),
        (None, '{"floatx": "float128"}', "floatx is 'float128'"),
        (None, '{"epsilon": 1}', "impossible epsilon, 1"),
        (None, '{"image_data_format": "channels"}', "impossible image_data_format"),
        (None, "[]", "no JSON object"),
    ],
)
def test_a_configuration_that_cannot_train_is_refused(monkeypatch, tmp_path, variable, content, words):
    (tmp_path / "keras.json").write_text(content)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", variable or "")
    with pytest.raises(InputError, match=words):
        keras_config.check_before_import()


def test_a_configuration_that_keras_reads_otherwise_or_not_at_all_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for content in ("{", '{"backend": "theano"}', '{"image_data_format": "channels_first"}'):
        (tmp_path / "keras.json").write_text(content)
        keras_config.check_before_import()  # KERAS_BACKEND says another one


def test_float_types_set_in_a_program_are_refused():
    import keras

    keras_config.check()
    try:
        keras.config.set_floatx("float64")
        with pytest.raises(InputError, match=r"floatx is 'float64', by keras.config.set_floatx"):
            keras_config.check()
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.one_backend
@pytest.mark.parametrize("after", [0.0, 0.01, 0.03])
def test_an_interrupt_while_the_command_is_loaded_is_a_word(after, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", export.__name__, f"--run={tmp_path}", "--help"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stderr:
        if line.rstrip().endswith("| odn_keras"):  # the package: what is loaded next is the command
            break
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    error = process.stderr.read()
    assert "Traceback" not in error and process.wait() in (130, 1), error
