"""Points that differ from the deployed one in few parameters on chip: what a fault leaves as it was is not computed again.

The operations up to the last one that has parameters on chip are its *parts*. Their results for the deployed network are kept, for one
group of samples at a time. A part of which some weights changed, or some data of a dense layer, takes the sums of the deployed network and
exchanges the products that are others. On chip every partial sum is exact, so this gives the same bits as the sum of all products. A part
of which much changed is computed as ever. If the results of all parts are as deployed, so is the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flow.landscape._engine.values import CONST, PARAM, ZERO, Dots, Ids, Make

if TYPE_CHECKING:
    from flow.landscape._engine.emit import Emitter
    from flow.landscape._engine.program import Program

MOST_PARTS = 62  # bits of a word
NOTHING = -(2**30)  # a weight that is zero, as in the code
UNPACK = """
    vf *const S = s.S; vd *const SD = s.SD; vf *const T = s.T; vd *const TD = s.TD; const int *const table = s.table;
    const float *const W = s.W; const double *const WD = s.WD;
    (void)S; (void)SD; (void)T; (void)TD; (void)table; (void)W; (void)WD;
"""


@dataclass(frozen=True)
class Dense:
    """Sums of products with parameters.

    Attributes:
        shape: rows, results of each, terms.
        data: where the table of the places of the data (R, K) begins, as C++; -1 is nothing.
        weights: likewise of the weights (M, K): parameters, or complements of constants.
        static: whether the data depend on the sample only.
        update: C++ that brings the results up to date; empty where sums are not in single precision.
    """

    shape: tuple[int, int, int]
    data: str
    weights: str
    static: bool
    update: str


def _has_chip(program: "Program", ids: Sequence[Ids], chip: int) -> bool:
    return any(bool(((program.kinds[i] == PARAM) & (program.values[i] < chip)).any()) for i in ids)


def count_parts(program: "Program", both: Sequence[Make], chip: int) -> int:
    """Return how many of the operations `both`, which change with point and sample, are parts; 0 if faults cannot be followed.

    Args:
        program: what is computed.
        both: some of its operations.
        chip: how many of the parameters, the first ones, are on chip.
    """
    last = -1
    for operation in program.made:
        place = next((i for i, one in enumerate(both) if one is operation), -1)
        fixed: Sequence[Ids] = operation.operands  # what must not be a parameter on chip
        if isinstance(operation, Dots) and place >= 0:
            fixed = [operation.data, *(a for step in operation.steps for a in step.args if a is not None)]
            last = place if _has_chip(program, [operation.weights], chip) else last
        if _has_chip(program, fixed, chip):
            return 0
    return last + 1 if last < MOST_PARTS and not _has_chip(program, [program.targets], chip) else 0


def dense_part(emitter: "Emitter", op: Dots, spaces: tuple[str, str], finish: str) -> Dense:
    """Describe the sums of a part; `spaces` are the memories of its data and its results."""
    (rows, terms), columns, kinds = op.data.shape, len(op.weights), emitter.program.kinds
    source, target = spaces
    weights = np.full(op.weights.shape, NOTHING)
    weights[kinds[op.weights] == PARAM] = emitter.program.values[op.weights[kinds[op.weights] == PARAM]]
    for m, k in np.argwhere((kinds[op.weights] == CONST) & (op.weights != ZERO)).tolist():
        weights[m, k] = ~emitter.constants.setdefault(int(op.weights[m, k]), len(emitter.constants))
    data = np.where(op.data == ZERO, -1, emitter.places[source[0]][op.data])
    out = np.where(op.out >= 0, emitter.places[target[0]][op.out], 0)
    places, results, table = (emitter.table(v).removeprefix("table + ") for v in (data, out, weights))
    call = f"update({source}, acc, {target}, table + {places}, table + {results}, {rows}, {columns}, {terms}, c, n, all, {finish});"
    return Dense((rows, columns, terms), places, table, source[0] == "T", "" if op.double else f"typedef vf V; {call}")


def _inputs(emitter: "Emitter", operands: Sequence[Ids], maker: Ids) -> str:
    """Return which parts make the operands, as bits."""
    found = {int(i) for ids in operands for i in np.unique(maker[ids[ids >= 0]]) if 0 <= i < emitter.parts}
    return f"{sum(1 << i for i in found)}ull"


def part_texts(emitter: "Emitter") -> tuple[str, str]:
    """Return the table of the parts and the functions of the operations, as C++."""
    maker, functions, rows = np.full(len(emitter.program.kinds), -1), [], []
    for i, op in enumerate(emitter.both):
        maker[op.out[op.out >= 0]] = i
    for i, op in enumerate(emitter.both[: emitter.parts]):
        functions.append(f"static __attribute__((noinline)) void part{i}(State s) {{{UNPACK}{chr(10).join(emitter.bodies[i])}\n}}")
        dense, first, update = emitter.dense.get(i), np.flatnonzero(op.out >= 0)[0], "nullptr"
        numbers = [int(emitter.places["S"][op.out[first]] - first), len(op.out), int(op.double), _inputs(emitter, op.operands, maker)]
        if dense is not None and dense.update:
            update = f"update{i}"
            functions.append(f"static void {update}(State s, vf *acc, const Change *c, int n, bool all) {{{UNPACK}{dense.update}\n}}")
        sums = (0, 0, 0, 0, 0, 0) if dense is None else (*dense.shape, dense.data, dense.weights, int(dense.static))
        rows.append(f"    {{part{i}, {update}, {', '.join(map(str, [*numbers, *sums, emitter.work[i]]))}}},")
    rest = "\n".join(line for body in emitter.bodies[emitter.parts :] for line in body)
    fill = "\n".join(emitter.fills["body"])
    functions.append(f"static __attribute__((noinline)) void fill(State s) {{{UNPACK}{fill}\n}}")
    functions.append(f"static __attribute__((noinline)) void rest(State s) {{{UNPACK}{rest}\n}}")
    calls = " ".join(f"part{i}(s);" for i in range(emitter.parts))
    functions.append(f"static void body(State s) {{ fill(s); {calls} rest(s); }}")
    if not emitter.parts:
        return "", "\n".join(functions)
    after = [o for op in emitter.both[emitter.parts :] for o in op.operands]
    needs = _inputs(emitter, [*after, emitter.program.targets], maker)
    table = "\n".join(["static const Part parts[] = {", *rows, "};"])
    return f"{table}\nstatic const unsigned long long needed = {needs};", "\n".join(functions)


KERNELS = r"""
#include <algorithm>
#include <new>
#include <vector>
#define NOTHING (-(1 << 30))  // a weight that is zero

// A weight that a fault changed: result and term of the sums that it is in.
struct Change { int m, k; float from, to; };

// An operation that faults may change: `count` results from `at` on, which parts make its data, sums of R rows, M results, K terms.
struct Part {
    void (*run)(State); void (*update)(State, vf *, const Change *, int, bool);
    int at, count; bool twice; unsigned long long inputs; int R, M, K, data, weights; bool from_samples; long products;
};

// Exchanges products in the sums (M, R); each step is exact, for each sum is that of a network with words on chip.
INLINE void exchange(const vf *data, vf *acc, const int *places, int R, int K, const Change &c, bool back) {
    const float from = back ? c.to : c.from, to = back ? c.from : c.to;
    for (int r = 0; r < R; r++) {
        const int place = places[r * K + c.k];
        if (place >= 0) acc[c.m * R + r] = (acc[c.m * R + r] - data[place] * from) + data[place] * to;
    }
}

template <class F>
INLINE void update(const vf *data, vf *acc, vf *out, const int *places, const int *outs, int R, int M, int K, const Change *c, int n,
                   bool all, F finish) {
    for (int i = 0; i < n; i++) exchange(data, acc, places, R, K, c[i], false);
    for (int i = 0; i < (all ? M : n); i++) {
        const int m = all ? i : c[i].m;
        for (int r = 0; r < R; r++) out[outs[r * M + m]] = finish(acc[m * R + r]);
    }
    for (int i = n - 1; i >= 0; i--) exchange(data, acc, places, R, K, c[i], true);
}

INLINE void accumulate(const vf *data, vf *acc, const int *places, const float *w, int R, int M, int K) {
    for (int m = 0; m < M; m++)
        for (int r = 0; r < R; r++) {
            vf sum = {};
            for (int k = 0; k < K; k++)
                if (places[r * K + k] >= 0 && w[m * K + k] != 0) sum += data[places[r * K + k]] * w[m * K + k];
            acc[m * R + r] = sum;
        }
}

// Exchanges the products of changed data in the sums of a dense layer.
INLINE void refresh(const vf *now, const vf *before, const unsigned char *other, vf *acc, const int *places, const float *w, int M, int K) {
    for (int k = 0; k < K; k++) {
        const int place = places[k];
        if (place < 0 || !other[place]) continue;
        for (int m = 0; m < M; m++) acc[m] = (acc[m] - before[place] * w[m * K + k]) + now[place] * w[m * K + k];
    }
}

template <class V> INLINE bool unequal(const V &a, const V &b) { return std::memcmp(&a, &b, sizeof(V)) != 0; }
#if LANES == 16
INLINE bool unequal(const vf &a, const vf &b) { return _mm512_cmpneq_epi32_mask((__m512i)a, (__m512i)b) != 0; }
#endif

// Marks which numbers are others than before, and tells whether any is.
template <class V> INLINE bool differs(const V *a, const V *b, int count, unsigned char *other) {
    unsigned char any = 0;
    for (int i = 0; i < count; i++) any |= other[i] = unequal(a[i], b[i]);
    return any;
}

// The changes of all points, sorted by part: those of part p at point i lie from first[i * (parts + 1) + p] on.
struct Changes {
    std::vector<Change> all;
    std::vector<long> first;
    std::vector<unsigned long long> own;  // which parts have any
    std::vector<int> order;               // of the points: those with the same parts follow each other

    Changes(const Part *parts, int P, const int *table, const double *base, long D, long count, const long *starts, const int *index,
            const double *value) : own(count), order(count) {
        struct Use { int part, m, k, next; };
        std::vector<Use> uses;
        std::vector<int> head(D, -1);
        for (int p = 0; p < P; p++)
            for (int m = 0; m < parts[p].M; m++)
                for (int k = 0; k < parts[p].K; k++) {
                    const int id = table[parts[p].weights + m * parts[p].K + k];
                    if (id >= 0) uses.push_back({p, m, k, head[id]}), head[id] = (int)uses.size() - 1;
                }
        for (long i = 0; i < count; i++) {
            order[i] = (int)i;
            for (int p = 0; p < P; p++) {
                first.push_back((long)all.size());
                for (long c = starts[i]; c < starts[i + 1]; c++)
                    for (int u = head[index[c]]; u >= 0; u = uses[u].next)
                        if (uses[u].part == p) all.push_back({uses[u].m, uses[u].k, (float)base[index[c]], (float)value[c]});
                if ((long)all.size() > first.back()) own[i] |= 1ull << p;
            }
            first.push_back((long)all.size());
        }
        std::stable_sort(order.begin(), order.end(), [this](int a, int b) { return own[a] < own[b]; });
    }
};

// A program, and the sizes of its memories.
struct Network {
    const Part *parts; int count; unsigned long long needed;  // by what follows the parts
    void (*prepare)(State, const float *, const float *, long, long); void (*point)(State, const double *); void (*body)(State);
    void (*rest)(State); void (*results)(State, int, double *);
    long D, S, SD, T, TD, R, W, WD, targets, pack, products;
};

static int campaign(const Network &net, const double *base, long count, const long *starts, const int *index, const double *value,
                    const float *x, const float *y, long samples, const int *table, const double *constants, double *out, long long *done) {
    const int *const pack = table + net.pack;
    const Changes changes(net.parts, net.count, table, base, net.D, count, starts, index, value);
    std::vector<int> head(net.D, -1), next(net.W + net.WD);
    std::vector<float> weights;
    std::vector<double> usual(net.targets * LANES);
    long sums = 0;
    for (int k = 0; k < net.W + net.WD; k++) if (pack[k] >= 0) next[k] = head[pack[k]], head[pack[k]] = k;
    for (const Part *part = net.parts; part < net.parts + net.count; part++) {
        sums += (long)part->R * part->M;
        for (int i = 0; i < part->M * part->K; i++) {
            const int id = table[part->weights + i];
            weights.push_back(id >= 0 ? (float)base[id] : id == NOTHING ? 0 : (float)constants[~id]);
        }
    }
    Memory s(sizeof(vf) * net.S), sd(sizeof(vd) * net.SD), t(sizeof(vf) * net.T), td(sizeof(vd) * net.TD), w(4 * net.W), wd(8 * net.WD);
    Memory r(sizeof(vf) * net.R), a(sizeof(vf) * sums), kept(sizeof(vf) * sums), c(sizeof(vf) * net.S), cd(sizeof(vd) * net.SD);
    for (const Memory *m : {&s, &sd, &t, &td, &w, &wd, &r, &a, &kept, &c, &cd}) if (!m->start) return 1;
    std::vector<unsigned char> other(net.S), other2(net.SD);  // which numbers are not those of the deployed network
    const State here = {(vf *)s.start, (vf *)t.start, (vf *)r.start,
                        (vd *)sd.start, (vd *)td.start, (float *)w.start, (double *)wd.start, table};
    vf *const clean = (vf *)c.start;
    vd *const clean2 = (vd *)cd.start;
    const auto write = [&](int k, double v) { if (k < net.W) here.W[k] = (float)v; else here.WD[k - net.W] = v; };
    for (int k = 0; k < net.W + net.WD; k++) write(k, pack[k] >= 0 ? base[pack[k]] : constants[~pack[k]]);
    net.point(here, base);
    for (long first = 0; first < samples; first += LANES) {
        const int lanes = samples - first < LANES ? (int)(samples - first) : LANES;
        net.prepare(here, x, y, first, samples);
        net.body(here);
        net.results(here, lanes, usual.data());
        vf *acc = (vf *)a.start;
        const float *weight = weights.data();
        for (const Part *part = net.parts; part < net.parts + net.count; part++) {
            if (part->twice) std::copy_n(here.SD + part->at, part->count, clean2 + part->at);
            else std::copy_n(here.S + part->at, part->count, clean + part->at);
            if (part->update)
                accumulate(part->from_samples ? here.T : here.S, acc, table + part->data, weight, part->R, part->M, part->K);
            acc += (long)part->R * part->M, weight += part->M * part->K;
        }
        std::copy_n((vf *)a.start, sums, (vf *)kept.start);
        std::fill(other.begin(), other.end(), 0), std::fill(other2.begin(), other2.end(), 0);
        unsigned long long dirty = 0;  // parts whose results are not those of the deployed network
        for (const int i : changes.order) {
            const auto patch = [&](bool faulty) {
                for (long j = starts[i]; j < starts[i + 1]; j++)
                    for (int k = head[index[j]]; k >= 0; k = next[k]) write(k, faulty ? value[j] : base[index[j]]);
            };
            unsigned long long changed = 0;
            bool patched = false;
            long products = 0;
            acc = (vf *)a.start;
            weight = weights.data();
            for (int p = 0; p < net.count; p++) {
                const Part &part = net.parts[p];
                const unsigned long long bit = 1ull << p;
                const bool data = part.inputs & changed, own = changes.own[i] & bit;
                const long from = changes.first[i * (net.count + 1l) + p], n = changes.first[i * (net.count + 1l) + p + 1] - from;
                const bool few = part.update && 4 * n * part.R < part.products, swap = own && !data && few;
                if (dirty & bit && !data && (swap || !own)) {
                    if (part.twice) std::copy_n(clean2 + part.at, part.count, here.SD + part.at);
                    else std::copy_n(clean + part.at, part.count, here.S + part.at);
                    std::memset((part.twice ? other2 : other).data() + part.at, 0, part.count);
                    dirty &= ~bit;
                }
                const long place = acc - (vf *)a.start;
                long renewed = 0;
                if (data && few && part.R == 1 && !part.from_samples)
                    for (int k = 0; k < part.K; k++) {
                        const int at = table[part.data + k];
                        renewed += at >= 0 && other[at];
                    }
                if (swap || (renewed && 3 * renewed < part.K)) {
                    if (renewed)
                        refresh(here.S, clean, other.data(), acc, table + part.data, weight, part.M, part.K);
                    part.update(here, acc, changes.all.data() + from, (int)n, renewed > 0);
                    if (renewed) std::copy_n((vf *)kept.start + place, part.M, acc);
                    products += 4 * n * part.R + 2 * renewed * part.M;
                } else if (own || data) {
                    if (!patched) patch(patched = true);
                    part.run(here);
                    products += part.products;
                }
                acc += (long)part.R * part.M, weight += part.M * part.K;
                if (!own && !data) continue;
                const bool some = part.twice ? differs(here.SD + part.at, clean2 + part.at, part.count, other2.data() + part.at)
                                             : differs(here.S + part.at, clean + part.at, part.count, other.data() + part.at);
                dirty = some ? dirty | bit : dirty & ~bit;
                if (some) changed |= bit;
            }
            if (patched) patch(false);
            double *const to = out + (i * samples + first) * net.targets;
            if (changed & net.needed) {
                net.rest(here);
                net.results(here, lanes, to);
                products += net.products;
            } else
                std::copy_n(usual.data(), lanes * net.targets, to);
            *done += products * lanes;
        }
    }
    return 0;
}
"""

# One function for each program that has parts.
ENTRY = r"""
namespace @NAME@ {
@PARTS@
}
extern "C" int faults_@NAME@(const double *base, long count, const long *starts, const int *index, const double *value, const float *x,
                             const float *y, long samples, const int *table, const double *constants, double *out, long long *done) try {
    using namespace @NAME@;
    const Network net = {parts, @COUNT@, needed, prepare, point, body, rest, results,
                         @D@, @S@, @SD@, @T@, @TD@, @R@, @W@, @WD@, @TARGETS@, @PACK@, @REST@};
    return campaign(net, base, count, starts, index, value, x, y, samples, table, constants, out, done);
} catch (const std::bad_alloc &) {
    return 1;
}
"""
