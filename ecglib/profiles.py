"""What ``profile`` means: how much data, at which rate, for how long. Every chapter reads its sizes here."""

from dataclasses import dataclass

from ecglib.errors import ParameterError
from ecglib.train import Schedule


@dataclass(frozen=True)
class Profile:
    """Sizes of one profile. ``n_*`` are records that the simulator makes; real sets are used whole."""

    name: str
    machine: str
    sampling_rate_hz: int
    n_pretrain: int
    n_evaluate: dict[str, int]
    random_encoders: int
    schedule: Schedule
    demo_size: bool  # demo_model() or paper_model()
    text_encoder: str  # empty: the paper's own


PROFILES = {
    "demo": Profile(
        name="demo",
        machine="two CPU cores, a few minutes",
        sampling_rate_hz=100,
        n_pretrain=6_400,
        n_evaluate={"ptb-xl": 1_500, "cpsc2018": 800, "csn": 1_500},
        random_encoders=5,
        # Many small steps: in 200 of 128 pairs a transformer hardly moves, and a ResNet scores the same either way.
        schedule=Schedule(epochs=4, batch_size=32, lr=1e-3, weight_decay=1e-2),
        demo_size=True,
        text_encoder="minilm",
    ),
    "gpu": Profile(
        name="gpu",
        machine="one GPU, ten minutes",
        sampling_rate_hz=500,
        n_pretrain=100_000,
        n_evaluate={"ptb-xl": 5_000, "cpsc2018": 2_000, "csn": 5_000},
        random_encoders=5,
        schedule=Schedule(epochs=6, batch_size=512, lr=1e-3, weight_decay=1e-2, precision="bf16"),
        demo_size=False,
        text_encoder="minilm",
    ),
    "paper": Profile(
        name="paper",
        machine="four GPUs of 24 GB, a day",
        sampling_rate_hz=500,
        n_pretrain=771_693,  # DERI section 4.1; the others print 773,268 to 779,891
        n_evaluate={"ptb-xl": 21_388, "cpsc2018": 6_877, "csn": 23_026},  # DERI table 8
        random_encoders=5,
        schedule=Schedule(epochs=50, batch_size=2_048, lr=1e-3, weight_decay=1e-8, precision="bf16"),
        demo_size=False,
        text_encoder="",
    ),
}


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises ParameterError naming those that exist."""
    if name not in PROFILES:
        raise ParameterError(f"profile is one of {', '.join(PROFILES)}, not '{name}'")
    return PROFILES[name]
