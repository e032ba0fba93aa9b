"""A bank: transfers move money between accounts, and every read of all accounts must show the same total.

After Jepsen's ``bank`` (snapshot isolation, told by a sum). A read returns an object, balance by account. Refused:

- **wrong total**: money appeared or vanished. Against ``total``, if it is set; otherwise against the total that most
  reads show (of equally many: the one read first): then two reads are named, for they can't both be right;
- **negative balance**, unless ``negative_balances`` allows it;
- **unexpected account**: against ``accounts``, if set; otherwise against all accounts in the most common kind of read
  and in transfers. **Missing account**: only if ``accounts`` is set (a bank may leave empty accounts out);
- **no balance**: an account whose balance is no number.

What the reads were held against, and whether it was set or inferred, is in the statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.event import shorten
from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import acknowledged, by_key, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import History, HistoryError
from checkers.verdict import Finding, Result
from checkers.wording import listed, place

NAME = "bank"
KINDS = ("wrong total", "negative balance", "unexpected account", "missing account", "no balance")

Balances = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Promise:
    """What every read of one bank must show. ``total_row``: the read that the total was inferred from (None: set)."""

    total: float
    accounts: frozenset[str]
    total_row: int | None
    accounts_set: bool
    negative: bool


@dataclass(kw_only=True, slots=True)
class _Bank:
    """One bank's reads, by their result's code: equal reads are looked at once."""

    key: Any
    balances: dict[int, Balances] = field(default_factory=dict)
    reads: dict[int, list[int]] = field(default_factory=dict)
    """Rows of the reads that returned it."""

    def first(self, code: int) -> int:
        return self.reads[code][0]


def judge(history: History, settings: Settings) -> Result:
    """Does every read show the same money?

    Raises:
        HistoryError: a read returned something that is no object, or a transfer names no accounts.
        ValueError: a setting has a value that it can't have.
    """
    reads = acknowledged(history, rows_of(history, "read"))
    if settings.null_read == "unknown":
        reads = reads[history.result[reads] != history.values.find(None)]
    moved = _accounts_of_transfers(history)
    findings: list[Finding] = []
    counts: Counter[str] = Counter()
    promises: list[_Promise] = []
    for key, rows in by_key(history, reads):
        bank = _bank(history, rows.tolist(), history.keys.values[key])
        promise = _promise(bank, moved.get(key, frozenset()), settings)
        promises.append(promise)
        for kind in KINDS:
            broken = [(code, what) for code in bank.reads for what in _BREAKS[kind](bank.balances[code], promise)]
            counts[kind] += sum(len(bank.reads[code]) for code, _ in broken)
            findings.extend(_finding(history, bank, promise, kind, code, what) for code, what in broken[:SHOWN_MAX])
    if not len(reads):
        findings.append(nothing_judged(NAME, "No read ended ok, so nothing is known of the balances."))
    statistics = {
        "reads": len(reads),
        "transfers": len(rows_of(history, "transfer")),
        "transfers_acknowledged": len(acknowledged(history, rows_of(history, "transfer"))),
        **{kind.replace(" ", "_"): counts[kind] for kind in KINDS},
        "held_against": [_told(promise) for promise in promises[:SHOWN_MAX]],
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _told(promise: _Promise) -> Mapping[str, Any]:
    return {
        "total": promise.total,
        "total_from": "the setting" if promise.total_row is None else "what most reads show",
        "accounts": sorted(promise.accounts),
        "accounts_from": "the setting" if promise.accounts_set else "what most reads show, and transfers",
    }


def _bank(history: History, rows: list[int], key: Any) -> _Bank:
    bank = _Bank(key=key)
    for row in rows:
        code = int(history.result[row])
        if code not in bank.balances:
            result = history.values.values[code]
            if not isinstance(result, dict):
                line = int(history.call[row]) + 1
                problem = f"the result of a read is {shorten(result)}"
                raise HistoryError(
                    history.source, line, problem, "A bank's read returns an object: balance by account."
                )
            bank.balances[code] = {str(account): balance for account, balance in result.items()}
        bank.reads.setdefault(code, []).append(row)
    return bank


def _accounts_of_transfers(history: History) -> Mapping[int, frozenset[str]]:
    found: dict[int, set[str]] = {}
    for row in rows_of(history, "transfer").tolist():
        value = history.values.values[int(history.value[row])]
        if not isinstance(value, dict) or not {"from", "to"} <= set(map(str, value)):
            line = int(history.call[row]) + 1
            problem = f"a transfer has the value {shorten(value)}"
            raise HistoryError(history.source, line, problem, 'Record {"from": a, "to": b, "amount": n}.')
        named = {str(name): account for name, account in value.items()}
        found.setdefault(int(history.key[row]), set()).update((str(named["from"]), str(named["to"])))
    return {key: frozenset(accounts) for key, accounts in found.items()}


def _promise(bank: _Bank, moved: frozenset[str], settings: Settings) -> _Promise:
    total, accounts = settings.number("total"), settings.names("accounts")
    times = {code: len(rows) for code, rows in bank.reads.items()}
    by_total: Counter[float] = Counter()
    by_accounts: Counter[frozenset[str]] = Counter()
    for code, balances in bank.balances.items():
        by_total[_sum(balances)] += times[code]
        by_accounts[frozenset(balances)] += times[code]
    usual = by_total.most_common(1)[0][0]
    first = next(code for code, balances in bank.balances.items() if _sum(balances) == usual)
    return _Promise(
        total=usual if total is None else total,
        accounts=by_accounts.most_common(1)[0][0] | moved if accounts is None else frozenset(accounts),
        total_row=bank.first(first) if total is None else None,
        accounts_set=accounts is not None,
        negative=settings.flag("negative_balances", False),
    )


def _is_number(balance: Any) -> bool:
    return isinstance(balance, int | float) and not isinstance(balance, bool)


def _sum(balances: Balances) -> float:
    total: float = sum(balance for balance in balances.values() if _is_number(balance))
    return total


def _wrong_total(balances: Balances, promise: _Promise) -> Iterator[str]:
    total = _sum(balances)
    if total != promise.total:
        yield f"of {total} in all"


def _negative(balances: Balances, promise: _Promise) -> Iterator[str]:
    below = [f"{name}: {balance}" for name, balance in balances.items() if _is_number(balance) and balance < 0]
    if below and not promise.negative:
        yield f"in which {listed(below)} is below zero"


def _unexpected(balances: Balances, promise: _Promise) -> Iterator[str]:
    strange = sorted(set(balances) - promise.accounts)
    if strange:
        known = "is among the accounts" if promise.accounts_set else "is in most reads or in any transfer"
        yield f"with {listed(strange)}; no such account {known}"


def _missing(balances: Balances, promise: _Promise) -> Iterator[str]:
    missing = sorted(promise.accounts - set(balances))
    if missing and promise.accounts_set:
        yield f"without {listed(missing)}"


def _no_balance(balances: Balances, promise: _Promise) -> Iterator[str]:  # noqa: ARG001 (one signature for all)
    none = [name for name, balance in balances.items() if not _is_number(balance)]
    if none:
        yield f"in which {listed(none)} has no balance"


_BREAKS = {
    "wrong total": _wrong_total,
    "negative balance": _negative,
    "unexpected account": _unexpected,
    "missing account": _missing,
    "no balance": _no_balance,
}


def _finding(history: History, bank: _Bank, promise: _Promise, kind: str, code: int, what: str) -> Finding:
    row = bank.first(code)
    other = promise.total_row if kind == "wrong total" else None
    case = Case(history, [row] if other is None else [row, other])
    read = history.operation(row)
    where = "" if bank.key is None else f" of {place(bank.key)}"
    against = ""
    if kind == "wrong total":
        against = f"; the total is {promise.total}"
    if other is not None:
        first = history.operation(other)
        seen = f"the read by {case.words.who(first)} at {case.words.began(first)} shows {promise.total} in all"
        against = f"; {seen}, and transfers don't change that"
    who = f"by {case.words.who(read)} at {case.words.began(read)}"
    message = f"The read{where} {who} shows balances {what}{against}."
    evidence = {"balances": dict(bank.balances[code]), "total": _sum(bank.balances[code]), "expected": promise.total}
    return case.finding(NAME, kind, message, key=bank.key, times=len(bank.reads[code]), read=row, **evidence)


BANK = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"read", "transfer"}),
    summary="transfers between accounts: every read shows the same total, and no balance below zero",
    settings={
        "total": "the sum of all balances (default: what most reads show)",
        "accounts": "the names of all accounts (default: those of most reads, and of transfers)",
        "negative_balances": "whether a balance may be below zero (default false)",
    },
)
