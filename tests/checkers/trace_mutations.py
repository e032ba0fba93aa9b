"""Ways to break a correct run's traces, each with the one invariant that must notice.

A mutation takes the traces of a correct run as lists of events per node, changes them in place, and says whether the
run gave it the chance. Times don't matter but for ``one_clock``; inserted events take their neighbour's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

Event = dict[str, Any]
Traces = dict[str, list[Event]]
Mutation = Callable[[Traces, Random], bool]


def places(traces: Traces, random: Random, name: str) -> Iterator[tuple[str, int, Event]]:
    """All events of one name in random order: (node, position, event)."""
    found = [(node, at, event) for node, events in traces.items() for at, event in enumerate(events)]
    found = [row for row in found if row[2]["event"] == name]
    random.shuffle(found)
    yield from found


def insert(traces: Traces, node: str, position: int, event: str, **fields: Any) -> None:
    """Puts an event behind the one at ``position``."""
    before = traces[node][position]
    stamp = {"time": before["time"], "wall": before["wall"], "node": node}
    traces[node].insert(position + 1, {**stamp, "event": event, **fields})


def incarnation(events: list[Event], position: int) -> range:
    """The positions of the incarnation that ``position`` is in."""
    starts = [at for at, event in enumerate(events) if event["event"] == "start"] + [len(events)]
    begin = max(at for at in starts[:-1] if at <= position)
    return range(begin, next(at for at in starts if at > begin))


def stranger(traces: Traces, *events: tuple[str, Event]) -> None:
    """A node that nobody heard of, started empty, with these events."""
    start = next(iter(traces.values()))[0]
    rows = [("start", {name: start[name] for name in start if name not in ("time", "wall", "node", "event")}), *events]
    stamp = {"time": start["time"], "wall": start["wall"], "node": "n9"}
    traces["n9"] = [{**stamp, "event": name, **fields} for name, fields in rows]


def highest_term(traces: Traces) -> int:
    return max(event["term"] for events in traces.values() for event in events if "term" in event)


def last_of(events: list[Event], position: int, name: str) -> Event | None:
    """The last event of a name before ``position``."""
    return next((event for event in reversed(events[:position]) if event["event"] == name), None)


def second_leader(traces: Traces, random: Random) -> bool:
    for node, _, event in places(traces, random, "role"):
        if event["role"] == "leader":
            other = random.choice([name for name in traces if name != node])
            insert(traces, other, len(traces[other]) - 1, "role", role="leader", term=event["term"], leader=other)
            return True
    return False


def votes_never_given(traces: Traces, random: Random) -> bool:
    for leader, _, won in places(traces, random, "role"):
        others = [events for name, events in traces.items() if name != leader]
        if won["role"] != "leader" or any(events[-1].get("term", 0) <= won["term"] for events in others):
            continue
        for events in others:
            given = [event for event in events if _gives(event, won["term"], leader)]
            for event in given:
                event["for" if event["event"] == "vote" else "vote"] = None
        return bool(others)
    return False


def _gives(event: Event, term: int, candidate: str) -> bool:
    return event.get("term") == term and candidate in (event.get("for"), event.get("vote"))


def second_vote(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "vote"):
        insert(traces, node, at, "vote", term=event["term"], **{"for": "n" + event["for"]})
        return True
    return False


def vote_after_restart(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "start"):
        durable = last_of(traces[node], at, "durable")
        if durable and durable["vote"] and durable["term"] == event["term"]:
            event["vote"] = None
            insert(traces, node, at, "vote", term=event["term"], **{"for": "n" + durable["vote"]})
            return True
    return False


def vote_lost(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "start"):
        durable = last_of(traces[node], at, "durable")
        if durable and durable["vote"] and durable["term"] == event["term"]:
            event["vote"] = None
            return True
    return False


def term_falls(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "term"):
        insert(traces, node, at, "term", term=event["term"] - 1)
        return True
    return False


def term_falls_at_restart(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "start"):
        durable = last_of(traces[node], at, "durable")
        if durable and durable["term"] > 0:
            event["term"], event["vote"] = durable["term"] - 1, None
            return True
    return False


def other_command(traces: Traces, random: Random) -> bool:
    told: dict[tuple[int, int], int] = {}
    for _, _, event in places(traces, random, "append"):
        for index, term, _ in event["entries"]:
            told[index, term] = told.get((index, term), 0) + 1
    for _, _, event in places(traces, random, "append"):
        entry = random.choice(event["entries"])
        if told[entry[0], entry[1]] > 1:
            entry[2] = "0" * 16
            return True
    return False


def other_past(traces: Traces, random: Random) -> bool:
    term = highest_term(traces) + 1
    entries = [[1, term, "a" * 16], [2, term, "b" * 16]]
    stranger(traces, ("append", {"entries": entries}))
    other = random.choice([name for name in traces if name != "n9"])
    insert(traces, other, 0, "append", entries=[[1, 0, "c" * 16], entries[1]])
    return traces[other][0]["last_index"] == 0


def append_lost(traces: Traces, random: Random) -> bool:
    for node, at, _ in places(traces, random, "append"):
        rest = [traces[node][place] for place in incarnation(traces[node], at) if place > at]
        following = next(
            (event["event"] for event in rest if event["event"] in ("append", "truncate", "snapshot")), None
        )
        told = any(traces[node][place]["event"] == "append" for place in incarnation(traces[node], at) if place < at)
        if following == "append" and told:
            del traces[node][at]
            return True
    return False


def term_falls_in_log(traces: Traces, random: Random) -> bool:
    term = highest_term(traces) + 1
    stranger(traces, ("append", {"entries": [[1, term, "a" * 16], [2, term - 1, "b" * 16]]}))
    return random is not None


def leader_cuts(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "append"):
        role = last_of(traces[node][incarnation(traces[node], at)[0] :], at - incarnation(traces[node], at)[0], "role")
        if role and role["role"] == "leader":
            insert(traces, node, at, "truncate", **{"from": event["entries"][-1][0]})
            return True
    return False


def cut_too_early(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "append"):
        roles = [one for one in traces[node][:at] if one["event"] in ("role", "start")]
        term = max((one["term"] for one in traces[node][:at] if "term" in one), default=0)
        if roles[-1].get("role") != "leader" and event["entries"][-1][1] == term:
            insert(traces, node, at, "truncate", **{"from": event["entries"][-1][0]})
            return True
    return False


def leader_without_committed(traces: Traces, random: Random) -> bool:
    for _ in places(traces, random, "commit"):
        term = highest_term(traces) + 1
        stranger(traces, ("role", {"role": "leader", "term": term, "leader": "n9"}))
        return any(events[0]["last_index"] == 0 for events in traces.values())
    return False


def committed_cut(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "commit"):
        insert(traces, node, at, "truncate", **{"from": event["index"]})
        return True
    return False


def other_commit(traces: Traces, random: Random) -> bool:
    applied = [entry for _, _, event in places(traces, random, "apply") for entry in event["entries"] if entry[0] == 1]
    committed = any(event["entries"][0][0] == 1 for _, _, event in places(traces, random, "append"))
    if not applied or not committed:
        return False
    term = highest_term(traces) + 1
    stranger(traces, ("append", {"entries": [[1, term, "a" * 16]]}), ("commit", {"index": 1, "term": term}))
    return True


def commit_too_far(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "commit"):
        appended = any(
            traces[node][place]["event"] == "append" for place in incarnation(traces[node], at) if place < at
        )
        if appended:
            event["index"] += 1000
            return True
    return False


def old_term_committed(traces: Traces, random: Random) -> bool:
    term = highest_term(traces) + 2
    stranger(
        traces,
        ("append", {"entries": [[1, term - 1, "a" * 16]]}),
        ("role", {"role": "leader", "term": term, "leader": "n9"}),
        ("commit", {"index": 1, "term": term}),
    )
    return random is not None


def commit_falls(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "commit"):
        insert(traces, node, at, "commit", index=event["index"] - 1, term=event["term"])
        return True
    return False


def other_result(traces: Traces, random: Random) -> bool:
    told: dict[int, int] = {}
    for _, _, event in places(traces, random, "apply"):
        for entry in event["entries"]:
            told[entry[0]] = told.get(entry[0], 0) + 1
    for _, _, event in places(traces, random, "apply"):
        entry = random.choice(event["entries"])
        if told[entry[0]] > 1:
            entry[3] = "0" * 16
            return True
    return False


def applied_twice(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "apply"):
        insert(traces, node, at, "apply", entries=event["entries"])
        return True
    return False


def old_snapshot_installed(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "apply"):
        index, term, _, _ = event["entries"][-1]
        insert(traces, node, at, "snapshot", action="installed", index=index - 1, term=term, hash=None)
        return True
    return False


def acknowledged_too_far(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "commit"):
        insert(traces, node, at, "ack", index=event["index"] + 1, term=event["term"])
        return True
    return False


def other_state(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "snapshot"):
        insert(traces, node, at, "snapshot", action="taken", index=event["index"], term=event["term"], hash="0" * 16)
        return True
    return False


def durable_log_lost(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "start"):
        before = traces[node][:at]
        commits = [row["index"] for row in before if row["event"] == "commit"]
        durable, appended = last_of(traces[node], at, "durable"), last_of(traces[node], at, "append")
        known = min(max(commits, default=0), durable["index"] if durable else 0)
        # So that its log is known from the beginning, and every durable line speaks of the log as it is.
        starts = [row["last_index"] for row in before if row["event"] == "start"]
        first = starts == [0] and all(row["event"] != "truncate" for row in before)
        if first and appended and event["last_index"] >= known > event["snapshot_index"]:
            event["last_index"], event["last_term"] = event["snapshot_index"], event["snapshot_term"]
            return True
    return False


def not_on_majority(traces: Traces, random: Random) -> bool:
    silent = random.sample(sorted(traces), len(traces) // 2 + 1)
    for node in silent:
        for event in traces[node]:
            if event["event"] == "durable":
                event["index"] = 0
    tell = all(any(event["event"] == "durable" for event in traces[node]) for node in silent)
    starts = [event for node in silent for event in traces[node] if event["event"] == "start"]
    recovered = max(max(event["last_index"], event["snapshot_index"]) for event in starts)  # durable, whoever is silent
    asked = {node for node, _, event in places(traces, random, "ack") if event["index"] > recovered}
    return tell and any(any(event["event"] == "durable" for event in traces[node]) for node in asked)


def match_falls(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "match"):
        for name, index in event["match"].items():
            if index > 0:
                insert(traces, node, at, "match", term=event["term"], match={name: index - 1})
                return True
    return False


def other_voters(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "start"):
        insert(traces, node, at, "config", index=event["last_index"], voters=["n7", "n8", "n9"])
        return True
    return False


def two_changes_at_once(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "append"):
        reign = last_of(traces[node], at, "role")
        index, term, _ = event["entries"][-1]
        if reign is not None and reign["role"] == "leader" and reign["term"] == term == event["entries"][0][1]:
            insert(traces, node, at, "config", index=index + 1, voters=[*sorted(traces), "n9"])
            insert(traces, node, at, "config", index=index, voters=sorted(traces))
            return True
    return False


def configuration_kept(traces: Traces, random: Random) -> bool:
    for node, at, event in places(traces, random, "truncate"):
        silent = ("append", "commit")
        after = next((row for row in traces[node][at + 1 :] if row["event"] not in silent), {"event": "start"})
        if after["event"] not in ("start", "snapshot"):
            insert(traces, node, at - 1, "config", index=event["from"], voters=sorted(traces))
            return True
    return False


MUTATIONS: Mapping[str, tuple[Mutation, str]] = {
    "two leaders in a term": (second_leader, "election safety"),
    "a follower cuts what its leader sent": (cut_too_early, "cut by a later term"),
    "votes that nobody gave": (votes_never_given, "elected by a majority"),
    "two votes in a term": (second_vote, "one vote a term"),
    "another vote after a restart": (vote_after_restart, "one vote a term"),
    "a vote lost by a restart": (vote_lost, "nothing durable is forgotten"),
    "a term that falls": (term_falls, "term never goes back"),
    "a term that falls at a restart": (term_falls_at_restart, "term never goes back"),
    "another command at an index and term": (other_command, "log matching"),
    "the same entry behind another one": (other_past, "log matching"),
    "an append left out": (append_lost, "log has no gaps"),
    "a term that falls along a log": (term_falls_in_log, "log terms never fall"),
    "a leader that cuts its log": (leader_cuts, "leader append-only"),
    "a leader without committed entries": (leader_without_committed, "leader completeness"),
    "a committed entry cut": (committed_cut, "committed prefix is kept"),
    "another entry committed": (other_commit, "commit agreement"),
    "a commit beyond the log": (commit_too_far, "commit within the log"),
    "an entry of an old term committed by counting": (old_term_committed, "commit by own term"),
    "a commit index that falls": (commit_falls, "commit never goes back"),
    "another result at an index": (other_result, "state machine safety"),
    "entries applied twice": (applied_twice, "applied never goes back"),
    "an old snapshot installed": (old_snapshot_installed, "applied never goes back"),
    "an acknowledgement before the commit": (acknowledged_too_far, "applied was committed"),
    "another state at a snapshot's index": (other_state, "snapshot agreement"),
    "a committed entry lost by a restart": (durable_log_lost, "nothing durable is forgotten"),
    "an acknowledgement without a majority": (not_on_majority, "acknowledged on a majority"),
    "a commit without a majority": (not_on_majority, "committed on a majority"),
    "a match index that falls": (match_falls, "match never goes back"),
    "voters replaced by others at once": (other_voters, "quorums intersect"),
    "a change of voters upon an uncommitted one": (two_changes_at_once, "one change at a time"),
    "a configuration whose entry was cut": (configuration_kept, "configuration follows the log"),
}
"""What is broken -> (how, which invariant must refuse it)."""
