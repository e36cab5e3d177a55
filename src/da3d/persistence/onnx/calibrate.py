"""Score -> p-value, severity and alarm as a graph, as `Calibration` and `Threshold` compute them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3d.persistence.onnx.graph import BOOLEAN, DOUBLE, Graph
from da3d.pipeline import Calibration, Threshold

__all__ = ["judge", "snapped"]


def snapped(graph: Graph, score: str, held_out: NDArray[np.float64], limit: float, most: float) -> str:
    """Scores that nearly are a held-out one, made equal to it; all others as they are.

    Rows like the held-out ones are common, and a score that another engine rounds the other way must not
    change their p-value. Nearly is within `limit`, relative to the score's and the usual size, and within
    `most`, relative to one plus the score's size.
    """
    above = graph.rank(score, held_out)
    below = graph.apply("Sub", above, graph.constant(np.int64(1)))
    first, last = graph.constant(np.int64(0)), graph.constant(np.int64(len(held_out) - 1))
    table, usual = graph.constant(held_out), graph.constant(np.median(np.abs(held_out)))
    size = graph.apply("Add", graph.apply("Abs", score), usual)
    larger = graph.apply("Add", graph.apply("Abs", score), graph.constant(np.float64(1.0)))
    near = graph.apply("Mul", size, graph.constant(np.float64(limit)))
    near = graph.apply("Min", near, graph.apply("Mul", larger, graph.constant(np.float64(most))))
    places = (graph.apply("Max", below, first), graph.apply("Min", above, last))
    left, right = (graph.apply("Gather", table, place, axis=0) for place in places)
    to_left, to_right = (graph.apply("Abs", graph.apply("Sub", side, score)) for side in (left, right))
    nearer = graph.apply("Where", graph.apply("Less", to_left, to_right), left, right)
    apart = graph.apply("Min", to_left, to_right)
    return graph.apply("Where", graph.apply("LessOrEqual", apart, near), nearer, score)


def judge(graph: Graph, score: str, calibration: Calibration, rule: Threshold) -> list[str]:
    """Add the outputs, and return their names; there is no alarm under a rule that ranks a whole table."""
    rows, resolution = len(calibration.scores), calibration.resolution
    below = graph.cast(graph.rank(score, calibration.scores), DOUBLE)
    counted = graph.apply("Sub", graph.constant(np.float64(1 + rows)), below)
    p_value = graph.apply("Mul", counted, graph.constant(np.float64(resolution)))
    share = graph.apply("Div", graph.apply("Log", p_value), graph.constant(np.log(resolution)))
    hundred = graph.constant(np.float64(100))
    severity = graph.apply("Mul", hundred, graph.apply("Abs", share))
    graph.output("anomaly_score", score, DOUBLE)
    graph.output("p_value", p_value, DOUBLE)
    graph.output("severity", graph.apply("Min", severity, hundred), DOUBLE)
    outputs = ["anomaly_score", "p_value", "severity"]
    if rule.by_row:
        cut = graph.constant(np.float64(calibration.cut(rule.value)))
        graph.output("is_anomaly", graph.apply("GreaterOrEqual", score, cut), BOOLEAN)
        outputs.append("is_anomaly")
    return outputs
