"""Writes direction.json: directions, frozen factors and one replay, from a second implementation (Python floats and
integers) that shares no code with shared/zo. Run: python3 test/vectors/make-direction.py > test/vectors/direction.json"""
import hashlib
import json
import math
import struct

MASK = 0xFFFFFFFF
ROT = [(10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20)]


def rotl(x, d):
    return ((x << d) | (x >> (32 - d))) & MASK


def threefry(key, ctr):
    ks = list(key) + [0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) & MASK for c, k in zip(ctr, key)]
    for r in range(20):
        a, b = ROT[r % 8]
        pairs = ((0, 1, a), (2, 3, b)) if r % 2 == 0 else ((0, 3, a), (2, 1, b))
        for i, j, d in pairs:
            x[i] = (x[i] + x[j]) & MASK
            x[j] = rotl(x[j], d) ^ x[i]
        if r % 4 == 3:
            s = (r + 1) // 4
            for i in range(4):
                x[i] = (x[i] + ks[(s + i) % 5] + (s if i == 3 else 0)) & MASK
    return x


def signs(seed, stream, tail, n):
    value = int(seed, 16)
    key = [value & MASK, value >> 32, stream, 0]
    out = []
    for block in range((n + 127) // 128):
        bits = sum(w << (32 * i) for i, w in enumerate(threefry(key, [block] + tail)))
        out += [-1 if bits >> i & 1 else 1 for i in range(128)]
    return out[:n]


def numbers(seed, tail, n):
    """Set bits of words, less 16."""
    value = int(seed, 16)
    key = [value & MASK, value >> 32, 5, 0]
    out = []
    for block in range((n + 3) // 4):
        out += [bin(w).count("1") - 16 for w in threefry(key, [block] + tail)]
    return out[:n]


def packed(values):
    return "".join("+" if v > 0 else "-" for v in values)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


SEED = "0123456789abcdef"
SPACE = {"kind": "lora", "rank": 2, "sites": [
    {"name": "a", "inputs": 70, "outputs": 3, "scale": 1},
    {"name": "b", "inputs": 5, "outputs": 129, "scale": 0.5}]}


RANK_5 = {**SPACE, "rank": 5, "distribution": "sphere"}


def direction(rnd, k, space=SPACE):
    out = []
    for site, s in enumerate(space["sites"]):
        n = s["inputs"] * space["rank"]
        out += numbers(SEED, [site, rnd, k], n) if "distribution" in space else signs(SEED, 1, [site, rnd, k], n)
    return out


def state_hash(factors, velocity, mean):
    flags = (1 if velocity else 0) | (2 if mean else 0)
    data = struct.pack(f"<{2 + len(factors)}I", len(factors), flags, *map(len, factors))
    for f in factors + [v for v in (velocity, mean) if v]:
        data += struct.pack(f"<{len(f)}f", *f)
    return hashlib.sha256(data).hexdigest()


def replayed(stages, space):
    finished, rounds, rnd = [], [], 0
    for index, stage in enumerate(stages):
        own = stage.get("space", space)
        d = len(direction(0, 0, own))
        current, velocity, mean = [0.0] * d, None, None
        for step in range(stage["rounds"]):
            coefficients = [(7 * rnd + 3 * k - 4) / 9 for k in range(stage["directions"])]
            total = [0.0] * d
            for k, c in enumerate(coefficients):
                z = direction(rnd, k, own)
                if own.get("distribution") == "sphere":
                    c = c * math.sqrt(d / sum(x * x for x in z))
                total = [t + x * c for t, x in zip(total, z)]
            rate, prox, momentum = stage["learningRate"], stage["prox"], stage.get("momentum", 0)
            if momentum:
                velocity = [f32(v + (t + (momentum - 1) * v)) for v, t in zip(velocity or [0.0] * d, total)]
                total = velocity
            current = [f32(a - rate * (t + prox * a)) for a, t in zip(current, total)]
            if stage.get("average"):
                mean = [f32(m + (a - m) / (step + 1)) for m, a in zip(mean, current)] if mean else current
            if step == stage["rounds"] - 1:
                current, velocity, mean = mean or current, None, None
                if index < len(stages) - 1:
                    finished.append(current)
                    current = [0.0] * len(direction(0, 0, stages[index + 1].get("space", space)))
            rounds.append({"round": rnd, "coefficients": coefficients,
                           "stateHash": state_hash(finished + [current], velocity, mean)})
            rnd += 1
    return {"stages": stages, "rounds": rounds}


PLAIN = [{"rounds": 3, "learningRate": 0.1, "prox": 0.25, "directions": 3},
         {"rounds": 2, "learningRate": 0.05, "prox": 0, "directions": 2}]
MOVED = [{"rounds": 3, "learningRate": 0.1, "prox": 0.25, "directions": 3, "momentum": 0.9},
         {"rounds": 3, "learningRate": 0.05, "prox": 0, "directions": 2, "average": True, "space": RANK_5},
         {"rounds": 2, "learningRate": 0.07, "prox": 0.1, "directions": 2, "momentum": 0.5, "average": True}]


# Every kind of space, with SHA-256 of what is too long to be written out. All bytes are little-endian.
def product(values):
    total = 1
    for value in values:
        total *= value
    return total


def low_rank(segment, rnd, k, shape, rank):
    """Entries of U V; a tensor of one dimension is a column with V = 1."""
    rows, columns = (shape[0], product(shape[1:])) if len(shape) > 1 else (product(shape), 1)
    left = signs(SEED, 3, [segment, rnd, k], rows * rank)
    right = signs(SEED, 4, [segment, rnd, k], rank * columns) if len(shape) > 1 else [1] * rank
    return [sum(left[i * rank + r] * right[r * columns + j] for r in range(rank))
            for i in range(rows) for j in range(columns)]


def lengths(space):
    if space["kind"] == "lora":
        return [(space["rank"] if space["trained"] == "core" else s["inputs"]) * space["rank"] for s in space["sites"]]
    return [t["kept"] if space["kind"] == "pruned" else product(t["shape"]) for t in space["tensors"]]


def direction_of(space, rnd, k):
    out = []
    for segment, n in enumerate(lengths(space)):
        if space["kind"] == "full" and space["directions"]["kind"] == "low-rank":
            out += low_rank(segment, rnd, k, space["tensors"][segment]["shape"], space["directions"]["rank"])
        elif "distribution" in space:
            out += numbers(SEED, [segment, rnd, k], n)
        else:
            out += signs(SEED, 1, [segment, rnd, k], n)
    return out


def scale_of(space, z):
    directions = space.get("directions", {})
    if directions.get("kind") == "low-rank":
        return 1 / math.sqrt(directions["rank"])
    if space.get("distribution") == "sphere":
        return math.sqrt(len(z) / sum(x * x for x in z))
    return 1 / math.sqrt(8) if space.get("distribution") == "binomial" else 1.0


def sha(data):
    return hashlib.sha256(data).hexdigest()


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def plain_floats(n, salt):
    """Float32 in [-0.5, 0.5): a fixed function of the index."""
    return [f32(((i + salt) * 2654435761 & MASK) / 2**32 - 0.5) for i in range(n)]


def case(name, space):
    d, rnd, radius, count = sum(lengths(space)), 7, 0.0123, 5
    center = plain_floats(d, 1)
    z = [direction_of(space, rnd, k) for k in range(count)]
    scales = [scale_of(space, values) for values in z]
    two = [[f32(a + f32(sign * f32(radius * scales[k]) * x)) for a, x in zip(center, z[k])] for k in range(count) for sign in (1, -1)]
    one = [center] + two[::2]
    coefficients = [(5 * k - 7) / 11 for k in range(count)]
    total = [0.0] * d
    on_sphere = space.get("distribution") == "sphere"
    for k, c in enumerate(coefficients):
        total = [t + x * (c * scales[k] if on_sphere else c) for t, x in zip(total, z[k])]
    scale = 1.0 if on_sphere else scales[0]
    updated = [f32(a - 0.03 * (t * scale + 0.2 * a)) for a, t in zip(center, total)]
    return {"name": name, "space": space, "round": rnd, "radius": radius, "dimension": d, "first": z[0][:24],
            "directions": [sha(struct.pack(f"<{d}b", *values)) for values in z],
            "two": sha(b"".join(map(floats, two))), "one": sha(b"".join(map(floats, one))),
            "update": {"coefficients": coefficients, "learningRate": 0.03, "prox": 0.2, "current": sha(floats(updated))}}


def bitset(tensors):
    """Keeps entry i of a tensor where (7 i + 3) mod 5 < 2. Returns the hash, and counts what it kept."""
    bits, start = bytearray((sum(product(t["shape"]) for t in tensors) + 7) // 8), 0
    for tensor in tensors:
        n = product(tensor["shape"])
        kept = [i for i in range(n) if (7 * i + 3) % 5 < 2]
        for i in kept:
            bits[(start + i) // 8] |= 1 << (start + i) % 8
        tensor["kept"] = len(kept)
        start += n
    return sha(bytes(bits))


def merged(inputs, outputs, rank, columns, start, scale):
    weight, left = plain_floats(inputs * outputs, 2), plain_floats(inputs * rank, 3)
    right = signs(SEED, 2, [1, 2, 0], rank * columns)
    for i in range(inputs):
        for o in range(outputs):
            total = 0.0
            for r in range(rank):
                total += left[i * rank + r] * right[r * columns + start + o]
            weight[i * outputs + o] = f32(weight[i * outputs + o] + scale * total)
    return {"inputs": inputs, "outputs": outputs, "rank": rank, "columns": columns, "from": start, "scale": scale,
            "weight": sha(floats(weight))}


TENSORS = [{"name": "w", "shape": [37, 129]}, {"name": "b", "shape": [129]}, {"name": "conv", "shape": [4, 5, 7]},
           {"name": "t", "shape": []}, {"name": "v", "shape": [3, 1300]}]
pruned = [{"name": "w", "shape": [61, 67]}, {"name": "b", "shape": [3]}, {"name": "x", "shape": [9, 130]}]
mask = bitset(pruned)
SITES = [{"name": "a", "inputs": 384, "outputs": 1152, "scale": 0.5}, {"name": "b", "inputs": 65, "outputs": 9, "scale": 1}]
cases = [
    case("lora factor", {"kind": "lora", "rank": 4, "trained": "factor", "sites": SITES}),
    case("lora core", {"kind": "lora", "rank": 7, "trained": "core", "sites": SITES}),
    case("full dense", {"kind": "full", "directions": {"kind": "dense"}, "tensors": TENSORS}),
    case("full of rank 1", {"kind": "full", "directions": {"kind": "low-rank", "rank": 1}, "tensors": TENSORS}),
    case("full of rank 3", {"kind": "full", "directions": {"kind": "low-rank", "rank": 3}, "tensors": TENSORS}),
    case("full of rank 64", {"kind": "full", "directions": {"kind": "low-rank", "rank": 64}, "tensors": TENSORS}),
    case("lora, binomial", {"kind": "lora", "rank": 4, "trained": "factor", "sites": SITES, "distribution": "binomial"}),
    case("lora, sphere", {"kind": "lora", "rank": 4, "trained": "factor", "sites": SITES, "distribution": "sphere"}),
    case("full, binomial", {"kind": "full", "directions": {"kind": "dense"}, "tensors": TENSORS, "distribution": "binomial"}),
    case("pruned, sphere", {"kind": "pruned", "tensors": pruned, "mask": mask, "distribution": "sphere"}),
    case("pruned", {"kind": "pruned", "tensors": pruned, "mask": mask}),
]

print(json.dumps({
    "source": "test/vectors/make-direction.py",
    "seed": SEED,
    "space": SPACE,
    "directions": [{"round": r, "k": k, "signs": packed(direction(r, k))} for r, k in [(0, 0), (0, 1), (1, 0), (4095, 63)]],
    "frozenFactors": [{"stage": t, "site": s, "signs": packed(signs(SEED, 2, [s, t, 0], 2 * SPACE["sites"][s]["outputs"]))}
                      for t, s in [(0, 0), (0, 1), (3, 1)]],
    "replay": replayed(PLAIN, SPACE),
    "moved": replayed(MOVED, SPACE),
    "spaces": cases,
    "merges": [merged(33, 70, 3, 200, 65, 0.37), merged(5, 9, 64, 9, 0, -1.5)],
}, indent=1))
