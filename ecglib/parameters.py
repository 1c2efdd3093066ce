"""The parameters of the notebooks: the names that mean the same everywhere, and the checks that all must pass.

papermill only warns of a misspelt name and does not look at types; a run would go through on the defaults. So a
notebook checks what it was given before it does anything else (`ecglib.run.start` calls `check`).
"""

import ast
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ecglib.errors import EcgError, ParameterError
from ecglib.paths import expand


@dataclass(frozen=True)
class Parameter:
    """One parameter with one meaning in all notebooks. ``choices`` empty: any value of the type."""

    name: str
    type: type
    default: object
    help: str
    choices: tuple[str, ...] = ()


PROFILES = ("demo", "gpu", "paper")
DATASETS = ("simulated", "mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn")

PARAMETERS: dict[str, Parameter] = {
    p.name: p
    for p in (
        Parameter("profile", str, "demo", "how much: demo (CPU, minutes), gpu (one GPU), paper", PROFILES),
        Parameter("seed", int, 0, "of everything random, 0 or more"),
        Parameter("dataset", str, "simulated", "the ECGs used; all but simulated need data_root", DATASETS),
        Parameter("data_root", str, "", "folder with the original files of dataset"),
        Parameter("checkpoint", str, "", "folder of a pre-trained model; empty: this profile's own, on simulated ECGs"),
        Parameter("results_dir", str, "results", "folder for records, figures and tables"),
        Parameter("backend", str, "knowledge", "what is asked: knowledge, local:FOLDER, or http://SERVER/v1#MODEL"),
        Parameter("leads", str, "all", 'leads used: all, or some as in "I,II,V5"'),
    )
}


def assignments(source: str) -> dict[str, str | None] | None:
    """Names assigned in a cell that does nothing else, with their annotations as text; None for any other cell.

    >>> assignments("seed: int = 0  # of everything")
    {'seed': 'int'}
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    names: dict[str, str | None] = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
            names |= {t.id: None for t in node.targets}
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring is fine
            return None
    return names or None


def find(cells: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Declared parameters with their annotations, and injected names, from the cells run so far.

    The parameters cell is the last one that only assigns and annotates every name; papermill's cell comes after it and
    starts with the comment ``# Parameters``.
    """
    declared: dict[str, str] = {}
    injected: list[str] = []
    for source in cells:
        names = assignments(source)
        if names is None:
            continue
        if source.lstrip().startswith("# Parameters\n"):
            injected = [n for n in names if not n.startswith("PAPERMILL_")]
        elif None not in names.values():
            declared, injected = {n: str(a) for n, a in names.items()}, []
    return declared, injected


def check(
    declared: Mapping[str, object],
    injected: Iterable[str],
    values: Mapping[str, object],
    choices: Mapping[str, Iterable[object]] | None = None,
) -> dict[str, object]:
    """The checked values of the declared parameters, in their order.

    Args:
        declared: name -> annotation, as text or as a type.
        injected: names that were given from outside.
        values: name -> value now; may hold other names.
        choices: further limits of this notebook, name -> values it takes.

    Raises ParameterError, one message naming the parameter, the value and what it takes.
    """
    for name in injected:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(f"unknown parameter {name!r}: {hint}this notebook takes {', '.join(declared)}")
    result = {}
    for name, annotation in declared.items():
        if name not in values:
            raise ParameterError(f"parameter {name!r} is declared without a value")
        common = PARAMETERS.get(name)
        kind = _resolve(name, annotation)
        if common is not None and kind is not common.type:
            raise ParameterError(
                f"parameter {name!r} must be declared as {common.type.__name__}, here it is {annotation}"
            )
        value = _typed(name, values[name], kind)
        for allowed in (common.choices if common else (), tuple((choices or {}).get(name, ()))):
            if allowed and value not in allowed:
                near = difflib.get_close_matches(str(value), map(str, allowed), n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ParameterError(f"{name} = {value!r}: must be one of {', '.join(map(str, allowed))}{hint}")
        if name in _CHECKS:
            _CHECKS[name](value)
        result[name] = value
    _check_data(result)
    return result


_NAMES = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "None": None,
}


def _resolve(name: str, annotation: object) -> object:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation.strip("'\""), {"__builtins__": {}}, _NAMES)  # the notebook's own source, not input
    except Exception:
        known = ", ".join(n for n in _NAMES if n != "None")
        raise ParameterError(f"parameter {name!r}: annotation {annotation!r} is not built from {known}") from None


def _typed(name: str, value: object, kind: object) -> object:
    """``value`` if it is of ``kind`` (an int serves as a float), else ParameterError with the remedy."""
    if isinstance(kind, types.UnionType):
        for option in typing.get_args(kind):
            try:
                return _typed(name, value, option)
            except ParameterError:
                continue
    elif kind is types.NoneType or kind is None:
        if value is None:
            return None
    elif typing.get_origin(kind) is list:
        if isinstance(value, list | tuple):
            (item,) = typing.get_args(kind)
            return [_typed(f"{name}[{i}]", v, item) for i, v in enumerate(value)]
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, typing.get_origin(kind) or kind) and not (kind is int and isinstance(value, bool)):
        return value
    wanted = getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)
    raise ParameterError(
        f"{name} = {value!r}: must be {wanted}, not {type(value).__name__}{_remedy(name, value, kind)}"
    )


def _remedy(name: str, value: object, kind: object) -> str:
    if kind is bool and str(value).lower() in ("true", "false", "0", "1", "yes", "no"):
        wanted = str(str(value).lower() in ("true", "1", "yes"))
        return f"; write {wanted}, with a capital: -p {name} {wanted}"
    if kind is float and isinstance(value, str) and _is_number(value):
        return f"; YAML takes {value} for text, write -p {name} {value} or 1.0e-4 with the point"
    if kind is int and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind is str and isinstance(value, int | float):
        return f"; give it as text with -r {name} {value}"
    if typing.get_origin(kind) is list or kind is list:
        return f"; give lists with -y '{{{name}: [...]}}'"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed = {seed}: must be a whole number from 0 to 4294967295")


def _check_leads(leads: str) -> None:
    from ecglib.signals import parse_leads

    try:
        parse_leads(leads)
    except EcgError as error:
        raise ParameterError(f"leads = {leads!r}: {error}") from None


def _check_backend(spec: str) -> None:
    from ecglib.llm_models import backend

    if not spec.startswith("local:"):  # a local model is loaded when it is asked
        backend(spec)


def _check_results_dir(results_dir: str) -> None:
    if not results_dir.strip():
        raise ParameterError("results_dir is empty: name a folder, for example results")


def _check_checkpoint(checkpoint: str) -> None:
    if checkpoint and not expand(checkpoint).is_dir():
        raise ParameterError(
            f"checkpoint = {checkpoint!r}: no such folder; give one that a pre-training notebook has written, or leave "
            "it empty"
        )


def _at_least(name: str, lowest: int) -> Callable[[int], None]:
    def check(value: int) -> None:
        if value < lowest:
            raise ParameterError(f"{name} = {value}: must be a whole number, {lowest} or more")

    return check


_CHECKS: dict[str, Callable] = {
    **{name: _at_least(name, 0) for name in ("epochs", "n_records", "n_calibration", "processes")},
    "n_bootstrap": _at_least("n_bootstrap", 10),
    "n_simulated": _at_least("n_simulated", 20),
    "seed": _check_seed,
    "backend": _check_backend,
    "leads": _check_leads,
    "results_dir": _check_results_dir,
    "checkpoint": _check_checkpoint,
}


def _check_data(values: Mapping[str, object]) -> None:
    """`dataset` and `data_root` belong together, in both directions: nothing may run on other data than was meant."""
    if "dataset" in values and "data_root" in values:
        dataset, root = str(values["dataset"]), str(values["data_root"])
        if dataset == "simulated" and root:
            others = ", ".join(d for d in DATASETS if d != "simulated")
            raise ParameterError(
                f"data_root = {root!r} but dataset is simulated, which reads no files: say which of {others}"
            )
        if dataset != "simulated" and not root:
            raise ParameterError(f"dataset = {dataset!r} needs data_root, the folder with its original files")
    for name, root in values.items():  # every folder of originals is there before the first minute is spent
        if name.endswith("_root") and root and not expand(str(root)).is_dir():
            raise ParameterError(f"{name} = {root!r}: no such folder; give one that is there")
