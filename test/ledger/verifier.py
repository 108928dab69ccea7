"""An independent verifier of a run's log, written from RFC 6962, RFC 8032 and the C2SP texts on signed notes, checkpoints and
tlog proofs. It shares no code with the project.

    python3 verifier.py log FOLDER RUN NAME KEY      the log of a run in a folder of objects
    python3 verifier.py proof FILE RUN NAME KEY      a proof of one record

Prints one line of JSON; exit code 0 where everything holds, 1 where something does not.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    pass


def require(condition, reason):
    if not condition:
        raise Refused(reason)


def decode(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused("base64") from error
    require(base64.b64encode(data).decode() == text, "base64")
    return data


def verify(key, signature, message, reason):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Refused(reason) from error


# --- RFC 6962 ---


def leaf(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node(tree_hash(leaves[:split]), tree_hash(leaves[split:]))


def root_from_path(hash_, index, size, path):
    """The recursion of RFC 6962, section 2.1.1, backwards."""
    if size == 1:
        require(not path, "path")
        return hash_
    require(path, "path")
    split = 1
    while split * 2 < size:
        split *= 2
    if index < split:
        return node(root_from_path(hash_, index, split, path[:-1]), path[-1])
    return node(path[-1], root_from_path(hash_, index - split, size - split, path[:-1]))


# --- C2SP: signed notes and checkpoints ---


def open_checkpoint(note, name, key):
    require("\n\n" in note and note.endswith("\n"), "note")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]
    found = False
    for line in signatures[:-1].split("\n"):
        parts = line.split(" ")
        require(len(parts) == 3 and parts[0] == "\u2014", "note")
        blob = decode(parts[2])
        if parts[1] == name and blob[:4] == key_id:
            verify(key, blob[4:], text.encode(), "checkpoint signature")
            found = True
    require(found, "unsigned")
    origin, size, root, end = text.split("\n")
    require(origin == name and end == "" and str(int(size)) == size, "checkpoint")
    return int(size), decode(root)


# --- The log of a run ---

REPORT = b"sotto-report-v1\n"


def canonical(value):
    """RFC 8785 for what has texts and whole numbers alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_log(base, name, key):
    """The records of a log, chained and signed, each with its own bytes."""
    size, root = open_checkpoint((base / "checkpoint").read_text("utf-8"), name, key)
    lines = []
    while (path := base / "log" / f"{len(lines):08d}.jsonl").exists():
        data = path.read_bytes()
        require(data.endswith(b"\n"), "segment")
        lines += data[:-1].split(b"\n")
    require(len(lines) >= size, "truncated")
    require(tree_hash([leaf(line) for line in lines[:size]]) == root, "root")
    previous, time, records = "0" * 64, 0, []
    for seq, line in enumerate(lines):
        record = json.loads(line)
        require(record["seq"] == seq and record["prev"] == previous and record["time"] >= time, "chain")
        previous, time = hashlib.sha256(line).hexdigest(), record["time"]
        records.append((record, line))
    return size, records


def check_log(folder, run, name, key):
    size, records = read_log(Path(folder) / "runs" / run, f"{name}/{run}", key)
    charged, counted = {}, set()
    spec_hash, state = None, None
    for record, line in records:
        if record["seq"] == 0:
            require(record["type"] == "spec" and record["run"] == run, "spec")
            # The spec's own bytes, as they stand in its record.
            start = line.index(b'"spec":') + len(b'"spec":')
            spec = line[start : line.rindex(b',"time":')]
            spec_hash = hashlib.sha256(spec).hexdigest()
        if record["type"] == "charge":
            require(record["lease"] not in charged, "charged twice")
            charged[record["lease"]] = (record["round"], record["dataset"])
        if record["type"] == "close":
            for report in record["reports"]:
                lease = report["lease"]
                require(charged.get(lease) == (record["round"], report["dataset"]), "uncharged report")
                require(lease not in counted, "counted twice")
                counted.add(lease)
                # The state that the first round begins with is the business of the trainer.
                if state is not None:
                    signed = {
                        "kind": "round",
                        "run": run,
                        "specHash": spec_hash,
                        "lease": lease,
                        "dataset": report["dataset"],
                        "round": record["round"],
                        "stateHash": state,
                        "integers": report["integers"],
                    }
                    key_of = decode(report["publicKey"])
                    verify(key_of, decode(report["signature"]), REPORT + canonical(signed), "report signature")
            state = record["stateHash"]
    return {"holds": True, "records": len(records), "signed": size, "reports": len(counted), "state": state}


def check_dataset(folder, dataset, name, key):
    """Nothing is drawn that was not reserved, no lease charged twice, nothing returned that was not left."""
    size, records = read_log(Path(folder) / "datasets" / dataset, f"{name}/datasets/{dataset}", key)
    leases, left, reserved, released = set(), {}, set(), set()
    for record, _ in records:
        kind = record["type"]
        require((kind == "register") == (record["seq"] == 0), "register")
        if kind == "register":
            require(record["dataset"]["id"] == dataset, "another dataset")
        if kind == "reserve":
            require(record["run"] not in reserved, "reserved twice")
            reserved.add(record["run"])
            for each in record["events"]:
                left[record["run"], canonical_event(each["event"])] = each["count"]
        if kind == "charge":
            require(record["lease"] not in leases, "charged twice")
            leases.add(record["lease"])
            if record["reserved"]:
                at = record["run"], canonical_event(record["event"])
                require(left.get(at, 0) > 0, "not reserved")
                left[at] -= 1
        if kind == "release":
            run = record["run"]
            require(run in reserved and run not in released, "released")
            released.add(run)
            returned = {(run, canonical_event(each["event"])): each["count"] for each in record["events"]}
            own = {at: count for at, count in left.items() if at[0] == run and count > 0}
            require(returned == own, "released what was not left")
            left.update({at: 0 for at in own})
    return {"holds": True, "records": len(records), "signed": size, "charges": len(leases), "left": sum(left.values())}


def canonical_event(event):
    return tuple(sorted(event.items()))


def check_proof(file, run, name, key):
    head, _, note = Path(file).read_text("utf-8").partition("\n\n")
    lines = head.split("\n")
    require(lines[0] == "c2sp.org/tlog-proof@v1", "header")
    require(lines[1].startswith("extra ") and lines[2].startswith("index "), "form")
    entry, index = decode(lines[1][6:]), int(lines[2][6:])
    size, root = open_checkpoint(note, f"{name}/{run}", key)
    require(0 <= index < size, "index")
    require(root_from_path(leaf(entry), index, size, [decode(line) for line in lines[3:]]) == root, "path")
    return {"holds": True, "index": index, "type": json.loads(entry)["type"]}


def main():
    kind, place, run, name, key = sys.argv[1:]
    try:
        check = {"log": check_log, "dataset": check_dataset, "proof": check_proof}[kind]
        print(json.dumps(check(place, run, name, decode(key))))
    except (Refused, ValueError, KeyError, OSError) as error:
        print(json.dumps({"holds": False, "reason": str(error)}))
        sys.exit(1)


main()
