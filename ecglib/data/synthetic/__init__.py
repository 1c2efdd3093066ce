"""The simulator: 12-lead ECGs with report, findings, labels and true measurements, from a seed alone."""

from ecglib.data.synthetic.cohorts import COHORTS, Cohort
from ecglib.data.synthetic.generate import (
    SimulatedRecord,
    Tracing,
    simulate_record,
    simulate_records,
    simulate_tracing,
)
from ecglib.data.synthetic.stream import stream

__all__ = [
    "COHORTS",
    "Cohort",
    "SimulatedRecord",
    "Tracing",
    "simulate_record",
    "simulate_records",
    "simulate_store",
    "simulate_tracing",
    "stream",
]


def simulate_store(*args, **kwargs):
    """See ``ecglib.data.synthetic.stores.simulate_store``."""
    from ecglib.data.synthetic.stores import simulate_store as make

    return make(*args, **kwargs)
