"""What rounding cost: added up, kept with the packed weights, and said in one sentence."""

import numpy as np
import pytest

from wazn.weights.loss import Loss


def test_errors_are_relative_to_the_weights_and_added_up_by_kind() -> None:
    loss = Loss()
    loss.add("Q8_0", np.array([3.0, 0.0], np.float32), np.array([3.0, 1.0], np.float32))
    loss.add("Q8_0", np.array([4.0, 0.0], np.float32), np.array([4.0, 2.0], np.float32))
    loss.add("BF16", np.ones(4, np.float32), np.ones(4, np.float32))
    assert loss.sums == {"BF16": (0.0, 4.0), "Q8_0": (5.0, 25.0)}
    assert loss.relative_errors() == {"BF16": 0.0, "Q8_0": pytest.approx(5**0.5 / 5)}
    assert Loss(loss.sums).relative_errors() == loss.relative_errors()


def test_squares_of_huge_weights_do_not_overflow() -> None:
    loss = Loss()
    exact = np.full((2, 8), 1e28, np.float32)
    loss.add("BF16", exact, exact * np.float32(0.5))
    assert loss.relative_errors()["BF16"] == pytest.approx(0.5)


def test_the_sentence_names_every_kind_that_lost() -> None:
    loss = Loss({"Q4_K": (0.0081, 1.0), "Q8_0": (0.0, 1.0), "F16": (4e-10, 1.0)})
    sentence = "Relative error of the weights (root mean square): F16 2.0e-05, Q4_K 9.00%."
    assert loss.describe() == sentence
    assert Loss({"BF16": (0.0, 1.0)}).describe() is Loss().describe() is None
    assert Loss({"Q8_0": (0.0, 0.0)}).relative_errors() == {"Q8_0": 0.0}
