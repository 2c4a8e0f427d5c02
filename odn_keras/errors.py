"""The exception for bad input, and the exit status of commands that end with it."""

BAD_INPUT = 2


class InputError(ValueError):
    """Raised for input of the user that cannot be used.

    The message is one line: what is wrong, the value received, what to do. The commands print it and exit with
    status `BAD_INPUT`; library users catch it as a `ValueError`.
    """
