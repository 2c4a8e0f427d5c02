import keras
import pytest

from odn_keras import InputError, NetworkSpec, build
from odn_keras.growing.optimizers import OptimizerTemplate
from odn_keras.growing.schedules import one_cycle

SPEC = NetworkSpec("resnet18", (8, 8, 1), 2, width=2)


@pytest.fixture(scope="module")
def network():
    return build(SPEC, 1)


def fresh(network, optimizer, *arguments, **settings):
    return OptimizerTemplate(optimizer, network).fresh(network, *arguments, **settings)


def test_a_continued_schedule_continues_while_the_optimizer_restarts(network):
    users = keras.optimizers.Adam(one_cycle(0.1, 100))
    scaled = fresh(network, users, rate_scale=0.1, first_step=20)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(scaled))
    for optimizer in (scaled, again):
        assert int(optimizer.iterations) == 0  # what averages of weights and Adam's corrections go by
        assert float(optimizer.learning_rate) == pytest.approx(0.1 * float(one_cycle(0.1, 100)(20)))


def test_averaging_leaves_an_average_of_the_users_alone(network):
    assert fresh(network, keras.optimizers.SGD(0.1), averaging=0.9).ema_momentum == 0.9
    users = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    assert fresh(network, users, averaging=0.9).ema_momentum == 0.5
    assert not fresh(network, keras.optimizers.SGD(0.1)).use_ema


def test_gradients_are_clipped_unless_the_user_does(network):
    assert fresh(network, keras.optimizers.SGD(0.1), global_clipnorm=1.0).global_clipnorm == 1.0
    assert fresh(network, keras.optimizers.SGD(0.1)).global_clipnorm is None
    users = fresh(network, keras.optimizers.SGD(0.1, clipvalue=0.5), global_clipnorm=1.0)
    assert (users.clipvalue, users.global_clipnorm) == (0.5, None)


ADAPTIVE = ["RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor", "Nadam", "ScheduleFreeAdamW"]


@pytest.mark.parametrize("kind", ["SGD", "Ftrl", "Lion", "Lamb", "Muon", *ADAPTIVE])
def test_every_optimizer_of_keras_is_copied_with_what_it_was_given(network, kind):
    users = getattr(keras.optimizers, kind)(
        0.25, weight_decay=0.5, clipnorm=2.0, loss_scale_factor=8.0, gradient_accumulation_steps=2
    )
    for _ in range(2):  # the second time with the state of a training
        copy = fresh(network, users, averaging=0.5)
        for name, value in users.get_config().items():
            if name not in ("name", "use_ema", "ema_momentum"):
                assert copy.get_config()[name] == value, name
        if not users.built:
            users.build(network.trainable_variables)


def decayed(optimizer, network):
    return {variable.path for variable in network.trainable_variables if optimizer._use_weight_decay(variable)}


def test_what_was_excluded_from_weight_decay_stays_excluded(network):
    everything = {variable.path for variable in network.trainable_variables}
    kernels = {path for path in everything if path.endswith("kernel")}
    by_name = keras.optimizers.AdamW(0.1)
    by_name.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    assert decayed(fresh(network, by_name), network) == kernels < everything
    again = OptimizerTemplate(fresh(network, by_name), network).fresh(network)  # as a second fit would
    assert decayed(again, network) == kernels

    one = keras.optimizers.SGD(0.1, weight_decay=0.1)
    one.exclude_from_weight_decay(var_list=[network.get_layer("stem_conv").kernel])
    template, other = OptimizerTemplate(one, network), build(SPEC, 1)
    assert template.names_variables and not OptimizerTemplate(by_name, network).names_variables
    assert decayed(template.fresh(other), other) == everything - {"stem_conv/kernel"}
    with pytest.raises(InputError, match="names 1 variables that the network does not have"):
        OptimizerTemplate(one, other)
    settings = [OptimizerTemplate(optimizer, network).settings() for optimizer in (one, keras.optimizers.SGD(0.1))]
    assert settings[0] != settings[1]


def test_a_loss_scale_optimizer_is_copied_with_the_one_inside(network):
    inner = keras.optimizers.SGD(0.1, momentum=0.5, weight_decay=0.1)
    inner.exclude_from_weight_decay(var_names=["gamma"])
    users = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0, dynamic_growth_steps=7)
    copy = fresh(network, users, averaging=0.9, rate_scale=0.5, global_clipnorm=1.0)
    assert (copy.initial_scale, copy.dynamic_growth_steps, copy.built) == (4.0, 7, True)
    inside = copy.inner_optimizer
    assert inside is not inner and not inner.built
    assert (inside.momentum, inside.ema_momentum, inside.global_clipnorm) == (0.5, 0.9, 1.0)
    assert float(copy.learning_rate) == pytest.approx(0.05)
    assert not any("gamma" in path for path in decayed(inside, network))


class Forgetful(keras.optimizers.SGD):
    def __init__(self, learning_rate=0.1, sharpness=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.sharpness = sharpness


class Needy(keras.optimizers.SGD):
    def __init__(self, sharpness, **kwargs):
        super().__init__(**kwargs)


class Terse(keras.optimizers.SGD):
    def get_config(self):
        return {"name": self.name, "learning_rate": 0.1}


def patched():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.update_step = lambda *_: None
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Forgetful(sharpness=2.0), "Forgetful.sharpness = 2.0 is not in its get_config"),
        (lambda: Needy(2.0), "Needy cannot be copied from its get_config, .*sharpness"),
        (Terse, "Terse cannot be copied .* its get_config has no use_ema"),
        (patched, "SGD.update_step = .* is not in its get_config"),
        (lambda: keras.optimizers.SGD(lambda: 0.1), "give a LearningRateSchedule"),
        (lambda: keras.optimizers.LossScaleOptimizer(Forgetful(sharpness=2.0)), "Forgetful.sharpness"),
    ],
    ids=["attribute", "argument", "configuration", "method", "function", "inner"],
)
def test_what_copies_would_lose_is_refused(network, make, message):
    with pytest.raises(InputError, match=message):
        OptimizerTemplate(make(), network)


def test_a_subclass_whose_attributes_are_as_a_copys_is_taken(network):
    assert isinstance(fresh(network, Forgetful()), Forgetful)
