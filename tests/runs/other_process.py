"""What another process gets that wants to use a folder as well."""

import multiprocessing

from odn_keras import InputError


def _try(context, path, answers):
    try:
        with context(path):
            answers.put("went in")
    except InputError as error:
        answers.put(str(error))


def elsewhere(context, path):
    """The answer of another process that enters the context."""
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    process = fork.Process(target=_try, args=(context, path, answers))
    process.start()
    answer = answers.get(timeout=60)
    process.join()
    return answer
