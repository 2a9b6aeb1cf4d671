"""What users of Debian's python3-etcd3 do. Arguments: host, port, and with TLS the paths of CA, certificate, key."""
import sys
import threading

import etcd3

host, port, *tls = sys.argv[1:]
options = dict(ca_cert=tls[0], cert_cert=tls[1], cert_key=tls[2]) if tls else {}


def connect(**more):
    return etcd3.client(host=host, port=int(port), timeout=10, **options, **more)


client = connect()

# kv
client.put("py/a", "1")
value, meta = client.get("py/a")
assert value == b"1" and meta.version == 1, (value, meta)
old = client.put("py/a", "2", prev_kv=True)
assert old.prev_kv.value == b"1", old
client.put("py/b", "3")
assert [v for v, _ in client.get_prefix("py/", sort_order="descend", sort_target="key")] == [b"3", b"2"]
assert client.replace("py/a", "2", "two") is True
assert client.replace("py/a", "2", "no") is False
assert client.put_if_not_exists("py/a", "no") is False
assert client.delete("py/missing") is False

# transaction
ok, responses = client.transaction(
    compare=[client.transactions.value("py/a") == "two", client.transactions.version("py/none") == 0],
    success=[client.transactions.put("py/c", "4"), client.transactions.get("py/a")],
    failure=[client.transactions.delete("py/a")],
)
assert ok and responses[1][0][0] == b"two", (ok, responses)

# watch
events, stop = client.watch_prefix("py/w/")
client.put("py/w/1", "x")
client.delete("py/w/1")
first, second = next(events), next(events)
assert isinstance(first, etcd3.events.PutEvent) and first.value == b"x", first
assert isinstance(second, etcd3.events.DeleteEvent) and second.key == b"py/w/1", second
stop()
called = threading.Event()
watch_id = client.add_watch_callback("py/cb", lambda response: called.set())
client.put("py/cb", "y")
assert called.wait(10), "the callback was not called"
client.cancel_watch(watch_id)

# lease
lease = client.lease(60)
client.put("py/leased", "z", lease=lease)
assert lease.granted_ttl == 60 and 50 < lease.remaining_ttl <= 60, lease.remaining_ttl
assert [bytes(key) for key in lease.keys] == [b"py/leased"], lease.keys
assert lease.refresh()[0].TTL == 60
lease.revoke()
assert client.get("py/leased")[0] is None

# lock
with client.lock("py/lock", ttl=10) as lock:
    assert lock.is_acquired()
    # A second acquire cannot be tried: with Debian's tenacity this client fails as soon as it has to wait.
    assert client.put_if_not_exists(lock.key, "no") is False

# cluster and upkeep
members = list(client.members)
assert len(members) == 1 and members[0].client_urls, members
status = client.status()
assert status.version and status.db_size > 0 and status.leader.id == members[0].id, status
assert isinstance(client.hash(), int)
client.defragment()
assert list(client.list_alarms()) == []
revision = client.get("py/a")[1].mod_revision
client.compact(revision)
try:
    list(client.watch("py/a", start_revision=1)[0])
    raise SystemExit("a watch from a compacted revision went on")
except etcd3.exceptions.RevisionCompactedError as error:
    assert error.compacted_revision == revision, error.compacted_revision
import io

copy = io.BytesIO()
client.snapshot(copy)
assert len(copy.getvalue()) % 512 == 32, len(copy.getvalue())
assert client.delete_prefix("py/").deleted == 4
client.close()
print("ok")
