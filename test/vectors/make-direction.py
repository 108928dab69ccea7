"""Writes direction.json: directions, frozen factors and one replay, from a second implementation (numpy float32, Python
integers) that shares no code with shared/zo. Run: python3 test/vectors/make-direction.py > test/vectors/direction.json"""
import hashlib
import json
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


def packed(values):
    return "".join("+" if v > 0 else "-" for v in values)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


SEED = "0123456789abcdef"
SPACE = {"kind": "lora", "rank": 2, "sites": [
    {"name": "a", "inputs": 70, "outputs": 3, "scale": 1},
    {"name": "b", "inputs": 5, "outputs": 129, "scale": 0.5}]}


def direction(rnd, k):
    out = []
    for site, s in enumerate(SPACE["sites"]):
        out += signs(SEED, 1, [site, rnd, k], s["inputs"] * SPACE["rank"])
    return out


def state_hash(factors):
    data = struct.pack("<II", len(factors), len(factors[0]))
    for f in factors:
        data += struct.pack(f"<{len(f)}f", *f)
    return hashlib.sha256(data).hexdigest()


stages = [{"rounds": 3, "learningRate": 0.1, "prox": 0.25, "directions": 3},
          {"rounds": 2, "learningRate": 0.05, "prox": 0, "directions": 2}]
d = len(direction(0, 0))
finished, current, rounds, rnd = [], [0.0] * d, [], 0
for index, stage in enumerate(stages):
    for step in range(stage["rounds"]):
        coefficients = [(7 * rnd + 3 * k - 4) / 9 for k in range(stage["directions"])]
        total = [0.0] * d
        for k, c in enumerate(coefficients):
            total = [t + z * c for t, z in zip(total, direction(rnd, k))]
        current = [f32(a - stage["learningRate"] * (t + stage["prox"] * a)) for a, t in zip(current, total)]
        if step == stage["rounds"] - 1 and index < len(stages) - 1:
            finished.append(current)
            current = [0.0] * d
        rounds.append({"round": rnd, "coefficients": coefficients, "stateHash": state_hash(finished + [current])})
        rnd += 1

print(json.dumps({
    "source": "test/vectors/make-direction.py",
    "seed": SEED,
    "space": SPACE,
    "directions": [{"round": r, "k": k, "signs": packed(direction(r, k))} for r, k in [(0, 0), (0, 1), (1, 0), (4095, 63)]],
    "frozenFactors": [{"stage": t, "site": s, "signs": packed(signs(SEED, 2, [s, t, 0], 2 * SPACE["sites"][s]["outputs"]))}
                      for t, s in [(0, 0), (0, 1), (3, 1)]],
    "replay": {"stages": stages, "rounds": rounds},
}, indent=1))
