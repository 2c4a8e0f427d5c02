from dataclasses import replace

import numpy as np

from odn_keras import NetworkSpec, RunOptions
from odn_keras.runs.overview import describe_data, describe_goal, describe_network


def test_every_class_and_split_is_counted(digits):
    lines = describe_data(digits).splitlines()
    assert "10 classes of 8x8 pixels" in lines[0]
    numbers = [int(n.replace(",", "")) for n in lines[-1].split()[1:]]
    assert numbers == [len(digits.train[0]), len(digits.validation[0]), len(digits.test[0])]
    three = next(line for line in lines if line.split()[0] == "3")
    assert int(three.split()[1]) == np.sum(digits.train[1] == 3)


def test_many_classes_are_summed_up(digits):
    names = tuple(f"class {n}" for n in range(40))
    text = describe_data(replace(digits, class_names=names))
    assert "smallest class" in text and "largest class" in text and len(text.splitlines()) == 6


def test_a_budget_that_makes_the_network_smaller_says_so():
    asked = RunOptions(max_flash="64KB")
    options = replace(asked, width=12, max_depth=2)
    text = describe_network(asked, options, NetworkSpec("resnet18", (8, 8, 1), 10, 12), 1)
    assert "width 12 instead of 64" in text and "depth 1 to 2 of 8" in text
    assert "instead" not in describe_network(options, options, NetworkSpec("resnet18", (8, 8, 1), 10, 12), 1)


def test_a_fixed_depth_has_no_target():
    assert describe_goal(RunOptions(depth=2, target_accuracy=None), 9, "float32").startswith("no target")
