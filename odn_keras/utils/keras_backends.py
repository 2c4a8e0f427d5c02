"""What Keras makes awkward on one backend or another: each workaround with its reason."""

import contextlib

import keras


def sync_variables(fitted: keras.Model) -> None:
    """Makes the variables of a model those that are being trained, in the middle of an epoch.

    On JAX a training step takes all variables as arguments and returns new ones, which Keras holds outside the model
    until the epoch ends; the model's own are empty or old meanwhile (`JAXTrainer.fit`). `jax_state_sync` assigns them,
    as Keras's `Callback.model` does for every callback, and the next step reads the variables again: what is assigned
    to them afterwards is trained on. Elsewhere the variables are always the present ones.

    Args:
        fitted: the model whose `fit` runs, not a network within it.
    """
    if hasattr(fitted, "jax_state_sync"):
        fitted.jax_state_sync()


def use_averaged_weights(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Makes the trainable weights of a network the moving averages that its optimizer keeps (`use_ema`).

    `finalize_variable_values` assigns the optimizer's own arrays. On JAX the next training step donates the arrays that
    it gets, so one that two variables share would be deleted under the other: every weight gets a copy.
    """
    optimizer.finalize_variable_values(network.trainable_variables)
    network.set_weights(network.get_weights())


def without_gradients() -> contextlib.AbstractContextManager:
    """Context manager: nothing is recorded for gradients, which only PyTorch does outside of training."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()
