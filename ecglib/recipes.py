"""How a reader is made: what is simulated, how long it learns, on what it is calibrated."""

from dataclasses import dataclass

from ecglib.errors import ParameterError
from ecglib.train import Schedule

CALIBRATION_SEED = 2_000_003  # added to the seed for the records of the curves: no training run of that seed saw them
CHECK_SEED = 3_000_017  # likewise for the records on which a reader is checked, which the curves did not see either


@dataclass(frozen=True)
class Recipe:
    """Sizes of one recipe. All records are simulated."""

    name: str
    machine: str
    n_records: int  # to learn from
    epochs: int
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-2
    cohort: str = "mimic-iv-ecg"  # whose reports are written for pre-training
    calibration_cohort: str = "ptb-xl"  # the population whose prevalences the probabilities have
    n_calibration: int = 12_000
    sampling_rate_hz: int = 100

    def schedule(self, seed: int) -> Schedule:
        """In float32: the network is small, and a reader is then the same whatever made it."""
        return Schedule(self.epochs, self.batch_size, self.lr, self.weight_decay, seed=seed)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("demo", "two CPU cores, ten minutes", n_records=25_600, epochs=5),
        Recipe("longer", "two CPU cores, an hour, or one GPU", n_records=102_400, epochs=6),
    )
}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ParameterError naming those that exist."""
    if name not in RECIPES:
        raise ParameterError(f"recipe is one of {', '.join(RECIPES)}, not '{name}'")
    return RECIPES[name]
