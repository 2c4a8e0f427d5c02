"""The one exception for bad input."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: what is wrong, the value received, what to do. The commands print it and exit with
    status 2; library users catch it as a `ValueError`.
    """
