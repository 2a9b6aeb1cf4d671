"""What Patroni does with its store, by Patroni's own class for etcd v3. Arguments: user and password ("" without), then url=pid of each member."""
import json
import os
import signal
import sys
import threading
import time
import urllib.request

sys.path.insert(0, "/usr/lib/python3/dist-packages")
from patroni.dcs.etcd3 import Etcd3  # noqa: E402

user, password, *members = sys.argv[1:]
pids = {url: int(pid) for url, pid in (member.split("=") for member in members)}


def node(name, ttl=20):
    config = dict(scope="main", name=name, ttl=ttl, loop_wait=1, retry_timeout=9)
    if user:
        config.update(username=user, password=password)
    return Etcd3(dict(config, hosts=[url.split("//")[1] for url in pids]))


def eventually(what, check, seconds=15):
    end = time.time() + seconds
    while not check():
        assert time.time() < end, what
        time.sleep(0.05)


def rpc(path, body, token=None):
    request = urllib.request.Request(next(iter(pids)) + "/v3" + path, json.dumps(body).encode())
    if token:
        request.add_header("authorization", token)
    return json.load(urllib.request.urlopen(request, timeout=10))


def switch_auth_off_and_on():
    token = rpc("/auth/authenticate", {"name": "root", "password": "root"})["token"]
    rpc("/auth/disable", {}, token)
    rpc("/auth/enable", {})


a, b, c = node("a"), node("b"), node("c")
assert len(a._client.machines) == len(pids)

# The first start of a cluster: one of the nodes initializes it.
assert a.initialize(create_new=True) is True
assert b.initialize(create_new=True) is False
assert a.initialize(create_new=False, sysid="7000") is True
assert a.get_cluster(force=True).initialize == "7000"

# The leader lock, and the members.
assert a.attempt_to_acquire_leader()
assert not b.attempt_to_acquire_leader()
for one in (a, b, c):
    one.get_cluster()
    assert one.touch_member({"conn_url": f"postgres://{one._name}", "state": "running"}) is True
cluster = None


def seen_by_b(check):
    def now():
        global cluster
        cluster = b.get_cluster()
        return check(cluster)

    return now


eventually("members", seen_by_b(lambda one: len(one.members) == 3))
assert cluster.leader.name == "a" and cluster.leader.conn_url == "postgres://a", cluster.leader
assert cluster.leader.session == a._lease
assert sorted(member.name for member in cluster.members) == ["a", "b", "c"]
assert b.touch_member({"conn_url": "postgres://b", "state": "running"}) is True

# The leader renews its lease and says how far it is; who is not it sees that.
lease = a._lease
time.sleep(1.1)
assert a.update_leader(4711, {"slot": 12}) and a._lease == lease
eventually("status", seen_by_b(lambda one: one.last_lsn == 4711 and one.slots == {"slot": 12}))

# Values that are written only over what the writer has seen.
assert a.set_config_value(json.dumps({"ttl": 20})) is True
config = a.get_cluster(force=True).config
assert a.set_config_value(json.dumps({"ttl": 21}), config.index) is True
assert b.set_config_value(json.dumps({"ttl": 22}), config.index) is False
eventually("config", seen_by_b(lambda one: one.config.data == {"ttl": 21}))
assert b.manual_failover("a", "b") is True
eventually("failover", seen_by_b(lambda one: one.failover and one.failover.candidate == "b"))
assert a.manual_failover("", "", index=cluster.failover.index) is True
assert a.manual_failover("", "c", index=cluster.failover.index) is False
assert a.set_sync_state_value(json.dumps({"leader": "a", "sync_standby": "b"})) is True
eventually("sync", seen_by_b(lambda one: one.sync.leader == "a"))
assert a.delete_sync_state(cluster.sync.index) is True
assert a.set_history_value(json.dumps([[1, 2, "x"]])) is True
eventually("history", seen_by_b(lambda one: one.history and one.history.lines == [[1, 2, "x"]]))

# The lock is released: who watches wakes up at once and takes it.
b.watch(None, 0)
a.get_cluster(force=True)
started = time.time()
threading.Timer(0.3, a.delete_leader, args=(4712,)).start()
assert b.watch(None, 10) is True and time.time() - started < 5
eventually("released", seen_by_b(lambda one: one.is_unlocked()))
assert b.attempt_to_acquire_leader()
assert not a.attempt_to_acquire_leader()

# A lease that is gone is noticed, and replaced.
b._client.call_rpc("/lease/revoke", {"ID": b._lease})
eventually("unlocked by the revocation", seen_by_b(lambda one: one.is_unlocked()))
assert b.attempt_to_acquire_leader()

if user:
    # Tokens end; the nodes come by new ones.
    switch_auth_off_and_on()
    token = b._client._token
    assert b.update_leader(5000) and b._client._token != token
    eventually("status after new tokens", seen_by_b(lambda one: one.last_lsn == 5000))

# The member that the leader talks to is killed: it moves on, in time to keep the lock, and so does its watch.
lease = b._lease
killed = b._client._base_uri
os.kill(pids[killed], signal.SIGKILL)
eventually("renewed elsewhere", lambda: b.update_leader(6000))
assert b._client._base_uri != killed and b._lease == lease
eventually("status from elsewhere", seen_by_b(lambda one: one.last_lsn == 6000))
assert cluster.leader.name == "b" and cluster.leader.session == lease
for one in (a, c):
    eventually("all move on", lambda: one.touch_member({"conn_url": "postgres://" + one._name, "state": "moved"}))

# A leader that vanishes: its lock expires, and of those who race for it one gets it.
eventually("released again", lambda: b.get_cluster() and b.delete_leader())
ghost = node("ghost", ttl=2)
assert ghost.attempt_to_acquire_leader()
eventually("the new leader", seen_by_b(lambda one: one.leader and one.leader.name == "ghost"))
b.watch(None, 0)
assert not b.attempt_to_acquire_leader()
assert b.watch(None, 15) is True
eventually("expired", seen_by_b(lambda one: one.is_unlocked()))
won = []
barrier = threading.Barrier(3)


def race(one):
    barrier.wait()
    if one.attempt_to_acquire_leader():
        won.append(one._name)


racers = [threading.Thread(target=race, args=(one,)) for one in (a, b, c)]
for racer in racers:
    racer.start()
for racer in racers:
    racer.join()
assert len(won) == 1, won
eventually("the winner", seen_by_b(lambda one: one.leader and one.leader.name == won[0]))

assert a.cancel_initialization() is True
assert a.delete_cluster() is True
eventually("nothing left", seen_by_b(lambda one: not one.members and one.is_unlocked()))
print("ok", flush=True)
os._exit(0)
