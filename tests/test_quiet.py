import os
import warnings

import pytest

from odn_keras.quiet import quiet


def test_chatter_is_swallowed_at_every_level(capfd):
    with quiet():
        print("python")
        os.write(2, b"native")
        warnings.warn("warning", stacklevel=1)
    print("after")
    assert capfd.readouterr() == ("after\n", "")


def test_chatter_is_shown_if_the_block_fails(capfd):
    with pytest.raises(RuntimeError), quiet():
        os.write(1, b"the reason")
        raise RuntimeError
    assert "the reason" in capfd.readouterr().err
