"""Names of the metrics that `odn_keras.utils.scores` and `odn_keras.growing.class_score` compute; imports nothing."""

ACCURACY, BALANCED_ACCURACY, MACRO_F1 = "accuracy", "balanced_accuracy", "macro_f1"
METRIC_NAMES = (ACCURACY, BALANCED_ACCURACY, MACRO_F1)


def in_words(metric: str) -> str:
    """A metric's name for people.

    >>> in_words("macro_f1"), in_words("balanced_accuracy")
    ('macro F1', 'balanced accuracy')
    """
    return metric.replace("_f1", "_F1").replace("_", " ")
