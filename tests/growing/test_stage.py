from odn_keras.growing.stage import CYCLE, Stage


def test_a_stage_knows_its_best_value():
    assert Stage(1, CYCLE, 0, 5, values=[0.1, 0.4, 0.2]).best == 0.4
