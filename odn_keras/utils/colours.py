"""Colours that people with any colour vision can tell apart: those of Okabe and Ito."""

GOOD, BAD = "#0072b2", "#d55e00"
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#f0e442")


def of_series(number: int) -> str:
    """The colour of the series of a number from 0; those beyond the eighth begin again.

    >>> of_series(0), of_series(8)
    ('#0072b2', '#0072b2')
    """
    return SERIES[number % len(SERIES)]
