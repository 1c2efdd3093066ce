"""The card of a record store: its format version, counts and hashes, and how tampering shows."""

import json
from pathlib import Path
from typing import Any

from ecglib.errors import StoreError
from ecglib.paths import atomic_write, sha256_of

STORE_VERSION = 1
SIGNALS, RECORDS, CARD = "signals.npy", "records.parquet", "card.json"
AGAIN = "remove the folder and prepare the data set again"


def seal_card(folder: Path, card: dict[str, Any]) -> None:
    """Add size and hash of both files and the fingerprint over everything that matters; write ``card.json``."""
    card["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in (SIGNALS, RECORDS)
    }
    card["fingerprint"] = card_fingerprint(card)
    atomic_write(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        what = "is not a record store (no card.json in it)" if folder.is_dir() else "does not exist"
        raise StoreError(f"{folder} {what}; stores are made by ecglib.data.open_dataset or write_store")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version = card["store_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is no card of a record store ({error!r}); {AGAIN}") from error
    if version != STORE_VERSION:
        raise StoreError(
            f"{folder} was made by store version {version}, this package reads version {STORE_VERSION}; {AGAIN}"
        )
    if card.get("fingerprint") != card_fingerprint(card):
        raise StoreError(f"{path} was edited: its fingerprint does not fit its content; {AGAIN}")
    return card


def card_fingerprint(card: dict[str, Any]) -> str:
    keys = ("store_version", "records", "samples", "leads", "sampling_rate_hz", "gain_per_mv", "tasks", "files")
    return sha256_of({key: card.get(key) for key in keys}, 16)


def check_hash(path: Path, card: dict[str, Any]) -> None:
    if sha256_of(path) != card["files"][path.name]["sha256"]:
        raise StoreError(f"{path} was changed after it was written (SHA-256 differs from {CARD}); {AGAIN}")
