"""Writes elementary.json: per function, rows [x, value, rest] where x is an exact double, value the correctly rounded
result and value + rest the result to 70 bits, from mpmath with 60 digits. wave rows are [k, n, cos, rest, sin, rest].
Run: python3 test/vectors/make-elementary.py > test/vectors/elementary.json
With the argument "tail": prints the polynomial of shared/privacy/elementary.ts's scaledTail instead, lowest degree first."""
import json
import math
import random
import sys
from fractions import Fraction

from mpmath import mp, mpf

mp.dps = 60
SEED = 20260101
LN2 = math.log(2)


def neighbours(x, n=2):
    """x and the n doubles on either side."""
    out = [x]
    low = high = x
    for _ in range(n):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
        out += [low, high]
    return out


def log_uniform(rng, low, high, n, signs=(1,)):
    """n magnitudes spread evenly over the exponents from 10^low to 10^high."""
    return [rng.choice(signs) * 10 ** rng.uniform(low, high) for _ in range(n)]


def exp_points(rng):
    boundaries = [x for k in (-1074, -1023, -1022, -53, -2, -1, 0, 1, 2, 53, 1023) for x in neighbours((k + 0.5) * LN2)]
    ends = [x for end in (709.782712893384, -708.3964185322641, -745.1332191019411) for x in neighbours(end)]
    return (
        [rng.uniform(-745, 709.7) for _ in range(180)]
        + [rng.uniform(-2, 2) for _ in range(100)]
        + log_uniform(rng, -320, 0, 60, (1, -1))
        + [rng.uniform(-745.1, -708.4) for _ in range(30)]
        + boundaries
        + ends
    )


def expm1_points(rng):
    boundaries = [x for k in (-55, -3, -2, -1, 0, 1, 2, 53, 54, 57) for x in neighbours((k + 0.5) * LN2)]
    return (
        [rng.uniform(-45, 60) for _ in range(150)]
        + [rng.uniform(-1.1, 1.1) for _ in range(180)]
        + log_uniform(rng, -320, 0, 80, (1, -1))
        + [rng.uniform(60, 709.7) for _ in range(20)]
        + boundaries
        + neighbours(40.0)
        + neighbours(-40.0)
    )


def log_points(rng):
    boundaries = [x for k in (-1022, -1, 0, 1, 1023) for x in neighbours(math.ldexp(math.sqrt(2), k))]
    return (
        log_uniform(rng, -307, 308, 150)
        + [rng.uniform(0.5, 2) for _ in range(180)]
        + [1 + x for x in log_uniform(rng, -16, -1, 80, (1, -1))]
        + log_uniform(rng, -323, -308, 30)
        + boundaries
        + neighbours(1.0, 4)
        + [5e-324, 2.0**-1022, math.nextafter(2.0**-1022, 0), sys.float_info.max]
    )


def log1p_points(rng):
    edges = [-0.29, 0.41, math.sqrt(2) - 1, math.sqrt(0.5) - 1, 1.0, -0.5, 2.0**-54, 2.0**53]
    return (
        [rng.uniform(-1, 3) for _ in range(180)]
        + log_uniform(rng, -320, 0, 120, (1, -1))
        + log_uniform(rng, 0, 308, 70)
        + [-1 + x for x in log_uniform(rng, -16, -1, 50)]
        + [x for edge in edges for x in neighbours(edge)]
    )


def tail_points(rng):
    return (
        [rng.uniform(0, 5) for _ in range(200)]
        + [rng.uniform(0, 30) for _ in range(150)]
        + [rng.uniform(30, 37.5) for _ in range(100)]
        + [rng.uniform(37.5, 38.4) for _ in range(30)]
        + [-rng.uniform(0, 9) for _ in range(60)]
        + log_uniform(rng, -320, 0, 40, (1, -1))
        + [37.5, 38.4, -8.2, -8.3, -38.0, 4.0, 1.0, 0.0]
    )


def rounded(exact):
    """The nearest double, subnormals too (a Fraction of integers becomes a float in one rounding), and the rest."""
    value = float(Fraction(int(exact.man) * (-1 if exact < 0 else 1)) * Fraction(2) ** exact.exp)
    return value, float(mp.nstr(exact - mpf(value), 5))


def rows(points, function):
    exact = [(x, function(mpf(x))) for x in sorted(set(points))]
    return [[x, *rounded(y)] for x, y in exact if y < sys.float_info.max]


def normal_tail(t):
    return mp.erfc(t / mp.sqrt(2)) / 2


def wave_rows(rng):
    picks = [(k, n) for n in (4, 8, 16, 64) for k in range(n)]
    picks += [(rng.randrange(n), n) for n in (2**10, 2**17, 2**20) for _ in range(60)]
    angle = lambda k, n: 2 * mp.pi * k / n
    snap = lambda x: mpf(0) if abs(x) < mpf(10) ** -50 else x
    return [[k, n, *rounded(snap(mp.cos(angle(k, n)))), *rounded(snap(mp.sin(angle(k, n))))] for k, n in picks]


def tail_polynomial(nodes=48, degree=24):
    """Chebyshev interpolant of (1+t) tail(t) exp(t^2/2) in z = (1.25t-5)/(t+5), cut, as powers of z."""

    def scaled(z):
        t = 5 * (1 + z) / (mpf(5) / 4 - z)
        return (1 + t) * normal_tail(t) * mp.exp(t * t / 2)

    angles = [mp.pi * (j + mpf(1) / 2) / nodes for j in range(nodes)]
    values = [scaled(mp.cos(a)) for a in angles]
    powers = [mpf(0)] * (degree + 1)
    last, current = [mpf(0), mpf(1)], [mpf(1)]
    for k in range(degree + 1):
        weight = (1 if k == 0 else 2) * mp.fsum(v * mp.cos(k * a) for v, a in zip(values, angles)) / nodes
        for i, c in enumerate(current):
            powers[i] += weight * c
        twice = [mpf(0)] + [(1 if k == 0 else 2) * c for c in current]
        following = [a - (last[i] if i < len(last) and k > 0 else 0) for i, a in enumerate(twice)]
        last, current = current, following
    return [float(p) for p in powers]


def main():
    if sys.argv[1:] == ["tail"]:
        print("\n".join(map(repr, tail_polynomial())))
        return
    rng = random.Random(SEED)
    vectors = {
        "exp": rows(exp_points(rng), mp.exp),
        "expm1": rows(expm1_points(rng), mp.expm1),
        "log": rows(log_points(rng), mp.log),
        "log1p": rows(log1p_points(rng), mp.log1p),
        "normalTail": rows(tail_points(rng), normal_tail),
        "wave": wave_rows(rng),
    }
    lines = (f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in table) + "\n]" for name, table in vectors.items())
    print("{" + ",\n".join(lines) + "}")


main()
