"""The files that calibration writes: population.toml and noise.toml, whole or not at all."""

import re
import tomllib
from dataclasses import asdict

import numpy as np

from ecglib.data.synthetic import body, noise, population, ventricles
from ecglib.paths import atomic_write


def forget() -> None:
    """What was derived from the population before it changed."""
    for kept in (population.of_package, body._chest_field, ventricles._normal_area):
        kept.cache_clear()


def write_population(of: population.Population, *, source: str = "", matched: str = "") -> None:
    """Replace ``population.toml``. ``source``: what its waves were fitted to; ``matched``: what the sizes of
    ``ecglib.calibration.matched`` were; each stays as it is where none is given."""
    told = tomllib.loads(population.FILE.read_text(encoding="utf-8"))
    lines = [f'source = "{source or told["source"]}"', f'matched = "{matched or told.get("matched", "")}"']
    lines += [f"{name} = {_number(value)}" for name, value in asdict(of).items()]
    atomic_write(population.FILE, "\n".join(lines) + "\n")
    forget()


def write_noise(changed: dict[str, tuple[float, float]]) -> None:
    """Change sizes in ``noise.toml``, name -> (old, new), in every cohort that has the old one; its notes stay."""
    text = noise.TABLE.read_text(encoding="utf-8")
    for name, (old, new) in changed.items():

        def value(line, old=old, new=new):
            return f"{line[1]}{float(f'{new:.4g}')}" if float(line[2]) == old else line[0]

        text = re.sub(rf"^({re.escape(name)} = )(\S+)$", value, text, flags=re.MULTILINE)
    atomic_write(noise.TABLE, text)
    noise.wards.cache_clear()


def _number(value) -> str:
    if np.ndim(value) == 0:
        return f"{float(value):.5f}"
    if np.ndim(value) == 1:
        return "[" + ", ".join(_number(x) for x in value) + "]"
    return "[\n" + "".join(f"  {_number(row)},\n" for row in value) + "]"
