"""Write coefficients.h: the polynomials of the vector elementary functions.

Run `python csrc/coefficients.py` (needs mpmath) after changing a degree; it prints the relative error of
every fit and rewrites coefficients.h next to itself. Fits are Chebyshev interpolants computed with 50
digits, within a small factor of the best polynomial of that degree.
"""

from pathlib import Path

import mpmath as mp

mp.mp.dps = 50


def exp2_minus_one_over_f(f):
    """(2^f - 1) / f, the factor that keeps 2^f - 1 accurate near f = 0."""
    return mp.log(2) if f == 0 else mp.expm1(f * mp.log(2)) / f


def erf_over_x(s):
    """erf(x) / x as a function of s = x^2."""
    x = mp.sqrt(s)
    return 2 / mp.sqrt(mp.pi) if x == 0 else mp.erf(x) / x


ERFC_CENTRE = mp.mpf(3)


def scaled_erfc(t):
    """(x + a) e^{x^2} erfc(x) at x = a (1 + t) / (1 - t): smooth on the whole half line x >= 0."""
    if t == 1:
        return 1 / mp.sqrt(mp.pi)
    x = ERFC_CENTRE * (1 + t) / (1 - t)
    if x > 9:  # asymptotic series (smallest term e^{-x^2}); e^{x^2} itself would need thousands of digits
        terms = [(-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(60)]
        return (x + ERFC_CENTRE) * mp.fsum(terms) / (x * mp.sqrt(mp.pi))
    with mp.workdps(100):
        return (x + ERFC_CENTRE) * mp.exp(x * x) * mp.erfc(x)


def log_ratio(y):
    """log((1 + s) / (1 - s)) / (2 s) as a function of y = (2 s)^2; log(1 + t) has s = t / (2 + t)."""
    s = mp.sqrt(y) / 2
    return mp.mpf(1) if y == 0 else mp.atanh(s) / s


def sin_over_x(s):
    """sin(x) / x as a function of s = x^2."""
    x = mp.sqrt(s)
    return mp.mpf(1) if x == 0 else mp.sin(x) / x


def chebyshev_nodes(n):
    """The zeros of the Chebyshev polynomial of degree n, on [-1, 1]."""
    return [mp.cos(mp.pi * (2 * k + 1) / (2 * n)) for k in range(n)]


def nodes_for_products(n):
    """n nodes, n even, such that x times the interpolant of a function is nearest to x times the function.

    With 0, where both products are equal, they are the zeros of a Chebyshev polynomial.
    """
    return [x for k, x in enumerate(chebyshev_nodes(n + 1)) if k != n // 2]


def fit(function, low, high, degree, *, nodes=chebyshev_nodes):
    """Monomial coefficients (ascending) and largest relative error of the interpolant."""
    low, high = mp.mpf(low), mp.mpf(high)
    n = degree + 1
    nodes = [(low + high) / 2 + (high - low) / 2 * x for x in nodes(n)]
    matrix = mp.matrix(n, n)
    for i, x in enumerate(nodes):
        for j in range(n):
            matrix[i, j] = x**j
    coefficients = list(mp.lu_solve(matrix, mp.matrix([function(x) for x in nodes])))
    grid = [low + (high - low) * mp.mpf(2 * k + 1) / 800 for k in range(400)]
    error = max(abs(mp.polyval(coefficients[::-1], x) / function(x) - 1) for x in grid)
    return coefficients, error


# name, function, interval, degree in double, degree in float
FITS = [
    ("EXP2", exp2_minus_one_over_f, -0.5, 0.5, 10, 5),
    ("ERF", erf_over_x, 0, 0.5, 9, 5),
    ("ERFC", scaled_erfc, -1, 1, 24, 11),
    ("LOG1P", log_ratio, 0, mp.mpf(4) / 9, 10, 4),
    ("SIN", sin_over_x, 0, (mp.pi / 2) ** 2, 8, 4),
]


# type, number k of roots 2^(1/k) in a table, degree of (2^f - 1) / f for |f| <= 1/(2k), nodes: 2^f takes f times it
ROOTS = [
    ("f64", 1, 10, chebyshev_nodes),
    ("f32", 1, 5, chebyshev_nodes),
    ("f64", 16, 5, chebyshev_nodes),
    ("f32", 32, 1, nodes_for_products),
    ("f32", 8, 2, chebyshev_nodes),
]


def tanh_less_linear(s):
    """(tanh(b) - b) / b^3 as a function of s = b^2."""
    b = mp.sqrt(s)
    return -mp.mpf(1) / 3 if s == 0 else (mp.tanh(b) - b) / (b * s)


# type, number k of roots 2^(1/k) in one register, degree of tanh_less_linear for |b| <= log(2)/(4k)
TANH = [("f64", 1, 5), ("f64", 8, 2), ("f32", 1, 2), ("f32", 8, 0)]


def gelu_tail(x):
    """x Phi(-x), which is max(x, 0) - gelu(x) for x >= 0."""
    return x * mp.erfc(x / mp.sqrt(2)) / 2


def parabola(vertex, slope, unit, bound):
    """Intervals of x from 0 to the bound: the numbers (vertex - slope x)^2 / unit, rounded, as {number: ends}."""
    vertex, slope, unit, bound = (mp.mpf(value) for value in (vertex, slope, unit, bound))
    low, high = (int(mp.floor((vertex - slope * x) ** 2 / unit + mp.mpf(1) / 2)) for x in (bound, mp.mpf(0)))
    edges = [bound, *((vertex - mp.sqrt((k + mp.mpf(1) / 2) * unit)) / slope for k in range(low, high)), mp.mpf(0)]
    return {low + i: (edges[i + 1], edges[i]) for i in range(len(edges) - 1)}


def quarters(shift, bound):
    """Intervals of x from 0 to the bound: four between powers of two of x + shift, as {number: ends}.

    The numbers are the bits of the float x + shift from the first two of its mantissa on, but for a multiple of 4 (bias
    + 1), which is one of 16.
    """
    shift, bound, low, ends = mp.mpf(shift), mp.mpf(bound), mp.mpf(0), {}
    while low < bound:
        exponent = int(mp.floor(mp.log(low + shift, 2)))
        quarter = int(mp.floor((low + shift) / mp.mpf(2) ** (exponent - 2))) - 4
        high = min(mp.mpf(2) ** (exponent - 2) * (quarter + 5) - shift, bound)
        ends[4 * (exponent - 1) + quarter] = (low, high)
        low = high
    return ends


# name, function of |x|, type, number of intervals, how they are numbered and its parameters, limit from the bound on,
# which is the last parameter, degree
INTERVALS = [
    ("gelu", gelu_tail, "f64", 8, parabola, ("11.66", "1", "16", "8.5"), 0, 13),
    ("gelu", gelu_tail, "f32", 16, parabola, ("3.93", "0.634", "1", "5.7"), 0, 4),
    ("gelu", gelu_tail, "f32", 8, parabola, ("2.906", "0.3875", "1", "5.6"), 0, 6),
    ("erf", mp.erf, "f64", 8, parabola, ("8.14", "1", "8", "5.9"), 1, 13),
    ("erf", mp.erf, "f32", 16, parabola, ("3.93", "1", "1", "3.9"), 1, 5),
    ("erf", mp.erf, "f32", 8, parabola, ("5.81", "1", "4", "3.9"), 1, 6),
    ("tanh", mp.tanh, "f32", 16, quarters, ("0.625", "9.02"), 1, 5),
]


def fit_intervals(function, intervals, size, limit, degree):
    """Rows of centres and of coefficients in x less the centre, one column for each interval, and the largest error.

    Column k is for the interval whose number is k modulo `size`. The centres of the first and the last interval are
    their ends, where the polynomial is 0 and the limit. Errors are relative to min(x, 1).
    """
    assert len(intervals) <= size
    columns, error = [[mp.mpf(0)] * (degree + 2)] * size, mp.mpf(0)
    bound = max(high for _, high in intervals.values())
    for number, (low, high) in intervals.items():
        if low > 0 and high < bound:
            centre = mp.nint((low + high) * 128) / 256
            column = [centre, *fit(lambda f, c=centre: function(c + f), low - centre, high - centre, degree)[0]]
        else:
            centre, value = (mp.mpf(0), mp.mpf(0)) if low == 0 else (mp.mpf(float(bound)), mp.mpf(limit))
            quotient = fit(
                lambda f, c=centre, v=value: (function(c + f) - v) / f, low - centre, high - centre, degree - 1
            )
            column = [centre, value, *quotient[0]]
        columns[number % size] = column
        grid = [low + (high - low) * mp.mpf(2 * i + 1) / 200 for i in range(100)]
        error = max(error, *(abs(mp.polyval(column[:0:-1], x - centre) - function(x)) / min(x, 1) for x in grid))
    return [list(row) for row in zip(*columns, strict=True)], error


def emit(values, kind, between=", \\\n    "):
    digits, suffix = (17, "") if kind == "f64" else (9, "f")
    return between.join(mp.nstr(v, digits, min_fixed=1, max_fixed=0) + suffix for v in values)


def split(value, bits, parts):
    """value as a sum of floats of `bits` significant bits each, so that n * part is exact for small n."""
    out = []
    for _ in range(parts - 1):
        scale = mp.mpf(2) ** (bits - 1 - mp.floor(mp.log(abs(value), 2)))
        head = mp.floor(value * scale) / scale
        out.append(head)
        value -= head
    return [*out, value]


def main():
    lines = ["/* Written by coefficients.py: do not edit. Relative errors are those of the fits. */", ""]
    for name, function, low, high, degree64, degree32 in FITS:
        for kind, degree in (("f64", degree64), ("f32", degree32)):
            coefficients, error = fit(function, low, high, degree)
            print(f"{name:10s} {kind} degree {degree:2d} relative error {mp.nstr(error, 3)}")
            lines += [
                f"/* {function.__doc__.splitlines()[0]} Relative error {mp.nstr(error, 2)}. */",
                f"#define CHS_{name}_{kind} {{ \\\n    {emit(coefficients, kind)}}}",
                "",
            ]
    for kind, size, degree, nodes in ROOTS:
        high = mp.mpf(1) / (2 * size)
        coefficients, error = fit(exp2_minus_one_over_f, -high, high, degree, nodes=nodes)
        print(f"EXP2_{size:<5d} {kind} degree {degree:2d} relative error {mp.nstr(error, 3)}")
        lines += [
            f"/* (2^f - 1) / f where |f| <= 1/{2 * size}. Relative error {mp.nstr(error, 2)}. */",
            f"#define CHS_EXP2_TABLE_{size}_{kind} {{ \\\n    {emit(coefficients, kind)}}}",
            "",
        ]
    for kind, size in sorted({row[:2] for row in ROOTS + TANH}):
        bits, bias = (53, 1023) if kind == "f64" else (24, 127)
        shift = bits - size.bit_length()
        values = [int(mp.nint(mp.mpf(2) ** (mp.mpf(k) / size) * 2 ** (bits - 1))) for k in range(size)]
        logs = [mp.log(value) - (bits - 1 + mp.mpf(k) / size) * mp.log(2) for k, value in enumerate(values)]
        first = (bias - 1) << (bits - 1)  # less the implicit leading one
        roots = [f"0x{value + first - (k << shift):x}" for k, value in enumerate(values)]
        lines += [
            f"/* Bits of 2^(k/{size}), k = 0 .. {size - 1}, less k << {shift}. */",
            f"#define CHS_EXP2_ROOTS_{size}_{kind} {{ \\\n    {', '.join(roots)}}}",
            "",
        ]
        if (kind, size) in {row[:2] for row in TANH}:
            lines += [
                f"/* log(r / 2^(k/{size})) / 2 for the rounded value r. */",
                f"#define CHS_EXP2_RESTS_{size}_{kind} {{ \\\n    {emit([log / 2 for log in logs], kind)}}}",
                "",
            ]
    for kind, size, degree in TANH:
        coefficients, error = fit(tanh_less_linear, 0, (mp.log(2) / (4 * size)) ** 2, degree)
        print(f"TANH_{size:<5d} {kind} degree {degree:2d} relative error {mp.nstr(error, 3)}")
        lines += [
            f"/* {tanh_less_linear.__doc__} |b| <= log(2)/{4 * size}. Relative error {mp.nstr(error, 2)}. */",
            f"#define CHS_TANH_{size}_{kind} {{ \\\n    {emit(coefficients, kind)}}}",
            "",
        ]
    for kind, bits in (("f64", 33), ("f32", 11)):
        lines += [
            "/* pi/2 in three parts; n times each of the first two is exact for |n| < 2^20 (f64), 2^13 (f32). */",
            f"#define CHS_HALF_PI_{kind} {{ \\\n    {emit(split(mp.pi / 2, bits, 3), kind)}}}",
            "",
        ]
    for name, function, kind, size, number, parameters, limit, degree in INTERVALS:
        rows, error = fit_intervals(function, number(*parameters), size, limit, degree)
        print(f"{name:10s} {kind} {size} intervals of degree {degree} error {mp.nstr(error, 3)}")
        real = "double" if kind == "f64" else "float"
        body = ",\n".join("    {" + emit(row, kind, ", ") + "}" for row in rows)
        shape = f"[{len(rows)}][{size}] __attribute__((aligned(CHS_ALIGN)))"
        numbering = emit([mp.mpf(p) for p in parameters], kind, ", ")
        lines += [
            f"/* For {name}: parameters of {number.__name__}; centres, and polynomials in x less the centre.",
            f" * Error {mp.nstr(error, 2)} min(x, 1). */",
            f"#define CHS_{name.upper()}_NUMBERING_{size}_{kind} {{{numbering}}}",
            f"static const {real} chs_{name}_{size}_{kind}{shape} = {{",
            f"{body}}};",
            "",
        ]
    lines += [f"#define CHS_ERFC_CENTRE {mp.nstr(ERFC_CENTRE, 3)}", ""]
    Path(__file__).with_name("coefficients.h").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
