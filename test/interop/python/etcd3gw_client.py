"""What users of Debian's python3-etcd3gw (the JSON gateway; OpenStack uses it) do. Arguments: host, port, TLS paths."""
import sys
import threading

from etcd3gw.client import Etcd3Client
from etcd3gw.utils import _decode

host, port, *tls = sys.argv[1:]
options = dict(protocol="https", ca_cert=tls[0], cert_cert=tls[1], cert_key=tls[2]) if tls else {}
client = Etcd3Client(host=host, port=int(port), timeout=10, api_path="/v3/", **options)

assert client.status()["version"]
assert len(client.members()) == 1
client.put("gw/a", "1")
assert client.get("gw/a") == [b"1"]
assert client.create("gw/a", "no") is False
assert client.create("gw/b", "2") is True
assert client.replace("gw/a", "1", "one") is True
assert client.replace("gw/a", "1", "no") is False
assert sorted(value for value, _ in client.get_prefix("gw/")) == [b"2", b"one"]
assert client.delete("gw/b") is True and client.delete("gw/b") is False

lease = client.lease(60)
client.put("gw/leased", "x", lease=lease)
assert 50 < lease.ttl() <= 60 and lease.refresh() == 60
assert lease.keys() == [b"gw/leased"], lease.keys()
lease.revoke()
assert client.get("gw/leased") == []

lock = client.lock("gw-lock", ttl=10)
assert lock.acquire() is True and lock.is_acquired()
assert client.lock("gw-lock", ttl=10).acquire() is False
assert lock.release() is True

events, cancel = client.watch("gw/w")
threading.Timer(0.2, lambda: client.put("gw/w", "seen")).start()
event = next(events)
assert event["kv"]["value"] == b"seen", event
cancel()

results = client.transaction(
    {
        "compare": [{"key": "Z3cvYQ==", "result": "EQUAL", "target": "VALUE", "value": "b25l"}],
        "success": [{"request_put": {"key": "Z3cvYw==", "value": "Mw=="}}],
        "failure": [],
    }
)
assert results["succeeded"] is True, results
client.delete_prefix("gw/")
assert client.get_prefix("gw/") == []
print("ok")
