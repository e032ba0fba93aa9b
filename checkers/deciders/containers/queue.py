r"""FIFO queues: linearizability in O(n log n), hidden dequeues included, all keys at once, in numpy.

The test of pairs is known (checking notes, 3.4; also in US patent 6510531); what follows is a proof of it, of the test
of empty dequeues beside it, and of how hidden dequeues are dealt out. A value v has an enqueue with call e and return
E, a dequeue with call d and return D (of a hidden dequeue D is the end of the history; what is never dequeued is
dequeued after the end, all at one position, which takes nothing from the truth: leave those dequeues out again).

*Theorem.* With unique values, the history is linearizable if and only if
(0) no dequeue of v returns before v's enqueue begins: not D(v) < e(v);
(1) no a, b: a's enqueue is over before b's begins, and b's dequeue is over before a's begins:
not E(a) < e(b) and D(b) < d(a);
(2) every empty dequeue has a moment that lies in no [E(v), d(v)].

*Necessary*: plain. *Sufficient*:

(i) Let E(v) = min(E, D) and d(v) = max(d, e): an enqueue takes effect before its dequeue does. This changes neither
(1), given (0), nor the union of the intervals in (2). Now E <= D and e <= d for every value, and D(v) < e(u) implies
E(v) < e(u).

(ii) Choose a moment x as in (2) for each empty dequeue. Each value has x < E(v), and is put *after* x (raise e and d to
x), or else d(v) < x, and is put *before* x (lower E and D to x). By (2) one of the two holds, and after it the queue
is empty at x. (0) and (1) stay true: for a, b on one side of x, a violation would need x beyond what the side allows;
for a before and b after, D(b) > x > d(a); for a after and b before, E(a) > x > e(b).

(iii) a -> b if E(a) < e(b) or D(a) < d(b). A shortest cycle has no two steps of one kind in a row (each kind is
transitive), so they alternate: a1 -E-> a2 -D-> a3 -E-> a4 ... with E(a1) < e(a2), E(a3) < e(a4). If E(a1) < E(a3), then
a1 -E-> a4 is a short cut, else a3 -E-> a2 closes a cycle of two with a2 -D-> a3. A cycle of two violates (1). So there
is a total order of the values that extends ->.

(iv) Going through the values in that order, let p be the greatest e so far, and q the greatest of d so far and p. Let v
be enqueued just after p(v) and dequeued just after q(v) (at equal moments in the total order). p(v) < E(v), because
the e(u) that it is belongs to a u before v, and E(v) < e(u) would put v before u; q(v) < D(v) likewise (for p by (i)).
Both grow along the order, and p <= q: so values leave in the order in which they came, each after it came.

*Hidden dequeues.* A hidden dequeue with call c that takes v sets d(v) = c and D(v) to the end. Let U be the values that
nobody was seen to dequeue, in the order of E; c1 < c2 ... the hidden calls. If any assignment of hidden dequeues to U
satisfies (1) and (2), then so does the i-th of U to the i-th call: exchange two that are the wrong way round, or give
an unused earlier call, or take from a later value what an earlier one lacks. For (1) v must be dequeued by a deadline,
the least D(b) of those b with E(v) < e(b), which an earlier E makes no later; and D(v) is the end, which harms nobody.
For (2) with E1 < E2 and c1 < c2 the union of [E1, c1] and [E2, c2] lies inside that of [E1, c2] and [E2, c1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.deciders.containers.conflicts import Conflict, Conflicts, Stay, covering
from checkers.deciders.containers.contents import NOBODY, Contents, Takes, contents
from checkers.deciders.containers.coverage import chain, gaps
from checkers.deciders.containers.explanation import explain
from checkers.deciders.containers.hidden import dealt_in_order
from checkers.deciders.containers.timeline import Ids
from checkers.deciders.containers.vocabulary import EMPTY_WHILE_HOLDING, OUT_OF_ORDER, QUEUE
from checkers.deciders.containers.witness import queue_order
from checkers.deciders.decision import Decision, Rows
from checkers.history import History


@dataclass(frozen=True, kw_only=True)
class QueueDecider:
    """enqueue and dequeue of values that are enqueued once."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:  # noqa: ARG002
        """See the module. Unknown outcomes are all judged; only values enqueued twice are left to the search.

        Raises:
            HistoryError: the initial value is no list.
        """
        conflicts, deferred = Conflicts(), dict[int, str]()
        queue = contents(history, QUEUE, initial, conflicts, deferred)
        dealt = deal_out(queue)
        _find_disorder(queue, dealt, conflicts)
        _find_wrong_empties(queue, dealt, conflicts)
        findings = tuple(explain(history, QUEUE, conflict) for conflict in conflicts.found)
        refused = frozenset(queue.timeline.code[sorted(conflicts.keys)].tolist())
        return Decision(findings=findings, refused=refused, deferred=deferred)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:  # noqa: ARG002
        """As in the proof. Of hidden dequeues, it holds those that were given a value."""
        queue = contents(history.select(rows), QUEUE, initial, Conflicts(), {})
        return rows[queue_order(queue, deal_out(queue).takes)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dealt:
    """The takes of all values, hidden ones dealt out; and the *rank* of those that nobody was seen to take among their
    like in their key, in the order of their puts' returns (-1 for others)."""

    takes: Takes
    rank: Ids


def deal_out(queue: Contents) -> Dealt:
    """The i-th hidden take of a key to the i-th value that nobody was seen to take."""
    rank = np.full(len(queue.key), -1, dtype=np.int64)
    untaken = np.flatnonzero(queue.untaken)
    untaken = untaken[np.argsort(queue.put_return[untaken], kind="stable")]
    rank[untaken] = np.arange(len(untaken)) - np.searchsorted(queue.key[untaken], queue.key[untaken])
    return Dealt(takes=dealt_in_order(queue, untaken), rank=rank)


def _find_disorder(queue: Contents, dealt: Dealt, conflicts: Conflicts) -> None:
    """Puts are in the order of their calls, key after key, and positions of later keys are greater than all of a key's:
    a suffix holds later puts of the key and puts of other keys, which never count."""
    if not len(dealt.takes.row):
        return
    later = np.searchsorted(queue.put_call, queue.put_return)
    least = np.append(np.minimum.accumulate(dealt.takes.return_[::-1])[::-1], queue.slots)
    wrong = np.flatnonzero(least[later] < dealt.takes.call)
    for index in conflicts.fresh(queue.key[wrong]):
        late = int(wrong[index])
        early = int(later[late] + np.argmin(dealt.takes.return_[later[late] :]))
        conflicts.found.append(_disorder(queue, dealt, late, early))


def _disorder(queue: Contents, dealt: Dealt, late: int, early: int) -> Conflict:
    """``late`` was put in before ``early``, but left after it, or never."""
    stay = _stay(queue, dealt, late, int(dealt.takes.return_[early]))
    took, second = int(dealt.takes.row[early]), int(queue.put_row[early])
    roles = {"second": second, "took second": took}
    before = [] if stay.put is None else [(stay.put, second)]
    if stay.left is not None:
        before.append((took, stay.left))
    key = int(queue.timeline.code[queue.key[late]])
    return Conflict(kind=OUT_OF_ORDER, key=key, roles=roles, before=tuple(before), stays=(stay,))


def _stay(queue: Contents, dealt: Dealt, index: int, upto: int) -> Stay:
    """A value that is inside until ``upto``: the call of its take is later."""
    put, row = int(queue.put_row[index]), int(dealt.takes.row[index])
    left = None if row == NOBODY else row
    stay = Stay(
        value=queue.value(index),
        put=None if put == NOBODY else put,
        take=None if queue.take_row[index] == NOBODY else left,
        shown=None if put == NOBODY else put,
        left=left,
    )
    return stay if stay.take is not None else _hidden_stay(queue, dealt, index, upto, stay)


def _hidden_stay(queue: Contents, dealt: Dealt, index: int, upto: int, stay: Stay) -> Stay:
    """Nobody was seen to take it. The takes of unknown result that began in time are no more than values as old."""
    key = queue.key[index]
    same = np.flatnonzero((queue.key == key) & (dealt.rank >= 0) & (dealt.rank < dealt.rank[index]))
    same = same[np.argsort(dealt.rank[same])]
    hidden = queue.hidden_row[queue.timeline.key[queue.hidden_row] == key]
    takers = np.sort(hidden[queue.timeline.call[hidden] < upto])
    others = same[len(same) - len(takers) :]
    return Stay(
        value=stay.value,
        put=stay.put,
        take=None,
        shown=stay.shown,
        left=stay.left,
        untaken=True,
        takers=tuple(takers.tolist()),
        others=tuple(None if queue.put_row[other] == NOBODY else int(queue.put_row[other]) for other in others),
    )


def _find_wrong_empties(queue: Contents, dealt: Dealt, conflicts: Conflicts) -> None:
    if not len(queue.empty_row):
        return
    where, rows = queue.timeline, queue.empty_row
    before = gaps(queue.put_return, dealt.takes.call, queue.slots)
    wrong = rows[before[where.return_[rows]] == before[where.call[rows]]]
    for index in conflicts.fresh(where.key[wrong]):
        empty = int(wrong[index])
        links = chain(queue.put_return, dealt.takes.call, int(where.call[empty]), int(where.return_[empty]))
        conflicts.found.append(_wrong_empty(queue, dealt, empty, links))


def _wrong_empty(queue: Contents, dealt: Dealt, empty: int, links: list[int]) -> Conflict:
    ended = int(queue.timeline.return_[empty])
    stays = tuple(_stay(queue, dealt, link, min(int(dealt.takes.call[link]), ended)) for link in links)
    key = int(queue.timeline.code[queue.timeline.key[empty]])
    return Conflict(
        kind=EMPTY_WHILE_HOLDING,
        key=key,
        roles={"empty": empty},
        before=covering(stays, empty, empty),
        stays=stays,
    )
