"""The errors a user meets. Each message names the file or value at fault and the remedy."""


class EcgError(ValueError):
    """Base of every error this package raises on purpose."""


class SignalError(EcgError):
    """A signal that cannot be used: leads, units, length, rate, amplitude."""


class StoreError(EcgError):
    """A record store that is missing, broken or of another version."""


class DataError(EcgError):
    """An original data set whose folder or files are not as documented."""


class CheckpointError(EcgError):
    """A checkpoint that is missing, damaged or belongs to another model."""


class ParameterError(EcgError):
    """A notebook or function parameter with an impossible name, type or value."""


class ResultError(EcgError):
    """A run record that is incomplete or breaks the schema."""
