"""What a `prepare` came to, and where its time went: for people and for machines."""

from __future__ import annotations

from fastcollate.errors import plural
from fastcollate.pretokenize.account import Account
from fastcollate.reports.text import file_size, rejections

__all__ = ["account_numbers", "account_words"]

_MOST_SHARES = 8  # that are shown, one a process


def account_numbers(account: Account) -> dict[str, object]:
    """Return what became of the records, and where the time went.

    >>> account_numbers(Account())["seconds"]
    {'starting': 0.0, 'reading': 0.0, 'encoding': 0.0, 'writing': 0.0, 'finishing': 0.0, 'tasks': 0.0}
    """
    speed = account.speed
    return {
        "read": account.read,
        "read_before": account.earlier,
        "written": account.written.records,
        "tokens": account.written.tokens,
        "rejected": dict(sorted(account.rejected.items())),
        "truncated": account.noted["cut"],
        "dropped": account.rejected["overlong"],
        "unsupervised": account.rejected["unsupervised"],
        "unsupervised_kept": account.noted["unsupervised"],
        "seconds": {
            name: round(value, 3) for name, value in (_spent(account) | {"tasks": account.seconds}).items()
        },
        "bytes_per_second": None if speed is None else round(speed),
        "cores": account.cores,
        "shares": [round(share, 3) for share in account.shares],
    }


def account_words(account: Account) -> dict[str, str]:
    """Return the same as lines to print, by their names.

    >>> account_words(Account())["spent on"]
    'starting 0.00 s, reading 0.00 s, encoding 0.00 s, writing 0.00 s, finishing 0.00 s'
    """
    before = f", {account.earlier:,} of them before" if account.earlier else ""
    speed = f", {file_size(round(account.speed))}/s" if account.speed is not None else ""
    shares = sorted(account.shares, reverse=True)
    each = ", ".join(f"{share:.0%}" for share in shares[:_MOST_SHARES])
    more = ", ..." if len(shares) > _MOST_SHARES else ""
    bare = {"left out": account.rejected["unsupervised"], "kept": account.noted["unsupervised"]}
    return {
        "read": f"{account.read:,}{before}",
        "rejected": rejections(account.rejected),
        "truncated": _some(account.noted["cut"]),
        "dropped": _some(account.rejected["overlong"], " overlong"),
        "unsupervised": ", ".join(f"{count:,} {how}" for how, count in bare.items() if count) or "none",
        "spent on": ", ".join(f"{name} {seconds:.2f} s" for name, seconds in _spent(account).items()),
        "busy": f"{account.share:.0%} of {plural(account.cores, 'core')} "
        f"(of each process: {each or 'nothing'}{more}){speed}",
    }


def _spent(account: Account) -> dict[str, float]:
    """Seconds; those of tasks are of all processes together, and may be more than went by."""
    return {
        "starting": account.starting,
        "reading": account.reading,
        "encoding": account.encoding,
        "writing": account.writing,
        "finishing": account.finishing,
    }


def _some(count: int, what: str = "") -> str:
    return f"{count:,}{what}" if count else "none"
