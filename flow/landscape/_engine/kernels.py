"""The part of the generated C++ that is the same for every network: vectors of samples, functions of them, sums of products."""

KERNELS = r"""
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define INLINE static inline __attribute__((always_inline))
typedef float vf __attribute__((vector_size(4 * LANES)));
typedef double vd __attribute__((vector_size(8 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));

template <class V> struct number;
template <> struct number<vf> { typedef float type; };
template <> struct number<vd> { typedef double type; };
template <class V> INLINE V splat(double c) { return V{} + (typename number<V>::type)c; }
template <class V, class A> INLINE V to(A a) { return __builtin_convertvector(a, V); }
template <class V, class F> INLINE V each(V a, F f) { V r; for (int i = 0; i < LANES; i++) r[i] = f(a[i]); return r; }

// The second operand if one is no number, as the instruction does: `a` of vmax(a, b) keeps NaN.
template <class V> INLINE V vmax(V a, V b) { V r; for (int i = 0; i < LANES; i++) r[i] = b[i] > a[i] ? b[i] : a[i]; return r; }
template <class V> INLINE V vmin(V a, V b) { V r; for (int i = 0; i < LANES; i++) r[i] = b[i] < a[i] ? b[i] : a[i]; return r; }
template <class V> INLINE V vround(V a) { return each(a, [](auto v) { return std::rint(v); }); }
template <class V> INLINE V vfloor(V a) { return each(a, [](auto v) { return std::floor(v); }); }
template <class V> INLINE V vsqrt(V a) { return each(a, [](auto v) { return std::sqrt(v); }); }
#if LANES == 16
INLINE vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)b, (__m512)a); }
INLINE vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)b, (__m512)a); }
INLINE vf vround(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, 8); }
INLINE vf vfloor(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, 9); }
#endif
template <class V, class M> INLINE V vif(M mask) { V r; for (int i = 0; i < LANES; i++) r[i] = mask[i] ? 1 : 0; return r; }
template <class V> INLINE V vselect(V a, V b, V c) { V r; for (int i = 0; i < LANES; i++) r[i] = a[i] != 0 ? b[i] : c[i]; return r; }
template <class V> INLINE V vhuber(V a, V d) {
    V r;
    for (int i = 0; i < LANES; i++) r[i] = std::fabs(a[i]) < d[i] ? a[i] * a[i] / 2 : d[i] * (std::fabs(a[i]) - d[i] / 2);
    return r;
}
template <class V> __attribute__((noinline)) static V vlog(V a) { return each(a, [](auto v) { return std::log(v); }); }
template <class V> __attribute__((noinline)) static V vlog1p(V a) { return each(a, [](auto v) { return std::log1p(v); }); }
template <class V> __attribute__((noinline)) static V vexpm1(V a) { return each(a, [](auto v) { return std::expm1(v); }); }
template <class V> __attribute__((noinline)) static V vtanh(V a) { return each(a, [](auto v) { return std::tanh(v); }); }
// In double precision, which decides the words of a Sigmoid on chip, by the library.
INLINE vd vexp(vd a) { return each(a, [](double v) { return std::exp(v); }); }
// exp(x) = 2^n exp(r), |r| <= ln(2) / 2, by the Taylor polynomial of degree 7: relative error below 2e-7.
INLINE vf vexp(vf a) {
    const vf x = vmin(vmax(a, splat<vf>(-87.3)), splat<vf>(88.7));
    const vf n = vround(x * 1.44269504f);
    const vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vf p = splat<vf>(1.0 / 5040);
    const float c[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    for (float k : c) p = p * r + k;
#if LANES == 16
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    return (vf)((vi)p + (__builtin_convertvector(n, vi) << 23));
#endif
}
template <class V> INLINE V vsigmoid(V a) { return splat<V>(1) / (splat<V>(1) + vexp(-a)); }
#if LANES == 16
INLINE vf vsigmoid(vf a) {  // the divisor is below 1e39, so one step of Newton makes the rough reciprocal exact to rounding
    const vf d = splat<vf>(1) + vexp(-a), r = (vf)_mm512_rcp14_ps((__m512)d);
    return r * (splat<vf>(2) - d * r);
}
#endif

// Sums of products. A block of the table: number of terms J; for each term where its M weights begin, and the R data; R x M results.
// The accumulators of a block stay in registers. PARTS > 1 splits a sum that would wait for itself.
template <int R, int M, int PARTS, class V, class F>
INLINE const int *dots(const V *data, const typename number<V>::type *w, V *out, const int *t, int blocks, F finish) {
    for (int block = 0; block < blocks; block++) {
        const int terms = *t++;
        V sum[PARTS][R][M];
        for (int p = 0; p < PARTS; p++) for (int r = 0; r < R; r++) for (int m = 0; m < M; m++) sum[p][r][m] = V{};
        int k = 0;
        for (; k + PARTS <= terms; k += PARTS) {
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; p++) {
                const typename number<V>::type *row = w + *t++;
                V a[R];
#pragma GCC unroll 32
                for (int r = 0; r < R; r++) a[r] = data[t[r]];
#pragma GCC unroll 32
                for (int m = 0; m < M; m++) {
                    const typename number<V>::type b = row[m];
#pragma GCC unroll 32
                    for (int r = 0; r < R; r++) sum[p][r][m] += a[r] * b;
                }
                t += R;
            }
        }
        if (PARTS > 1)
            for (; k < terms; k++) {
                const typename number<V>::type *row = w + *t++;
                for (int r = 0; r < R; r++) for (int m = 0; m < M; m++) sum[0][r][m] += data[t[r]] * row[m];
                t += R;
            }
#pragma GCC unroll 32
        for (int r = 0; r < R; r++)
#pragma GCC unroll 32
            for (int m = 0; m < M; m++) {
                V total = sum[0][r][m];
                for (int p = 1; p < PARTS; p++) total += sum[p][r][m];
                out[*t++] = finish(total);
            }
    }
    return t;
}

// The same for rows whose data lie at fixed distances AT from those of the first. A block of the table: number of terms, where the M
// numbers lie that the sums begin with, for each term its weights and the data of the first row, the results.
template <int M, int... AT, class V, class F>
INLINE void series(const V *data, const typename number<V>::type *w, V *out, const int *t, int blocks, F finish) {
    constexpr int R = sizeof...(AT), at[] = {AT...};
    for (int block = 0; block < blocks; block++) {
        const int terms = *t++;
        V sum[R][M];
#pragma GCC unroll 32
        for (int r = 0; r < R; r++)
#pragma GCC unroll 32
            for (int m = 0; m < M; m++) sum[r][m] = V{} + w[*t + m];
        t++;
        for (int k = 0; k < terms; k++, t += 2) {
            const typename number<V>::type *row = w + t[0];
            const V *from = data + t[1];
#pragma GCC unroll 32
            for (int m = 0; m < M; m++) {
                const typename number<V>::type b = row[m];
#pragma GCC unroll 32
                for (int r = 0; r < R; r++) sum[r][m] += from[at[r]] * b;
            }
        }
#pragma GCC unroll 32
        for (int r = 0; r < R; r++)
#pragma GCC unroll 32
            for (int m = 0; m < M; m++) out[*t++] = finish(sum[r][m]);
    }
}

template <class V, class F> INLINE void peaks(const V *data, V *out, const int *t, int rows, int width, F finish) {
    for (int row = 0; row < rows; row++) {
        V peak = data[*t++];
        for (int k = 1; k < width; k++) peak = vmax(peak, data[*t++]);
        out[*t++] = finish(peak);
    }
}

// The samples of a group, one in each lane; beyond the last sample it is repeated.
INLINE void load(const float *x, long width, long first, long samples, vf *to, const int *t, int count) {
    const float *rows[LANES];
    for (int lane = 0; lane < LANES; lane++) rows[lane] = x + width * (first + lane < samples ? first + lane : samples - 1);
    for (int k = 0; k < count; k++, t += 2) {
        vf v;
        for (int lane = 0; lane < LANES; lane++) v[lane] = rows[lane][t[1]];
        to[t[0]] = v;
    }
}

struct State { vf *S, *T, *R; vd *SD, *TD; float *W; double *WD; const int *table; };

struct Memory {
    void *start;
    explicit Memory(size_t bytes) : start(std::aligned_alloc(128, (bytes + 255) / 128 * 128)) { if (start) std::memset(start, 0, bytes); }
    ~Memory() { std::free(start); }
    Memory(const Memory &) = delete;
};
"""

# One function for each program. @NAME@ and so on are put in by flow.landscape._engine.emit.
ENTRY = r"""
namespace @NAME@ {
static void prepare(State s, const float *x, const float *y, long first, long samples) {
    vf *const R = s.R; vf *const T = s.T; vd *const TD = s.TD; const int *const table = s.table;
    const float *const W = s.W; const double *const WD = s.WD;
    (void)R; (void)T; (void)TD; (void)table; (void)W; (void)WD; (void)x; (void)y; (void)first; (void)samples;
@PREPARE@
}
static void point(State s, const double *values) {
    vf *const S = s.S; vd *const SD = s.SD; vf *const T = s.T; vd *const TD = s.TD; const int *const table = s.table;
    const float *const W = s.W; const double *const WD = s.WD;
    (void)S; (void)SD; (void)T; (void)TD; (void)table; (void)W; (void)WD; (void)values;
@POINT@
}
@FUNCTIONS@
static void results(State s, int lanes, double *out) {
    const int *const place = s.table + @RESULT@;
    if (@TARGETS@ == 1) {
        const vd all = to<vd>(s.@FROM@[place[0]]);
        std::memcpy(out, &all, lanes * sizeof(double));
        return;
    }
    for (int lane = 0; lane < lanes; lane++)
        for (int k = 0; k < @TARGETS@; k++) *out++ = s.@FROM@[place[k]][lane];
}
}
extern "C" int run_@NAME@(const double *points, long count, const float *x, const float *y, long samples, const int *table,
                          const double *constants, double *out, long limit) {
    using namespace @NAME@;
    const long groups = (samples + LANES - 1) / LANES, each = sizeof(vf) * @T@ + sizeof(vd) * @TD@;
    long chunk = limit / (each ? each : 1);
    chunk = chunk < 1 ? 1 : chunk < groups ? chunk : groups;
    Memory s(sizeof(vf) * @S@), sd(sizeof(vd) * @SD@), t(sizeof(vf) * @T@ * chunk), td(sizeof(vd) * @TD@ * chunk);
    Memory w(4 * @W@ * @BLOCK@), wd(8 * @WD@ * @BLOCK@), r(sizeof(vf) * @R@);
    if (!r.start || !s.start || !sd.start || !t.start || !td.start || !w.start || !wd.start) return 1;
    const State base = {(vf *)s.start, (vf *)t.start, (vf *)r.start,
                        (vd *)sd.start, (vd *)td.start, (float *)w.start, (double *)wd.start, table};
    const int *const pack = table + @PACK@;
    for (long start = 0; start < groups; start += chunk) {
        const long end = start + chunk < groups ? start + chunk : groups;
        for (long first = 0; first < count; first += @BLOCK@) {
            const long points_here = count - first < @BLOCK@ ? count - first : @BLOCK@;
            for (long p = 0; p < points_here; p++) {
                const double *const values = points + (first + p) * @D@;
                float *const single = base.W + p * @W@;
                double *const twice = base.WD + p * @WD@;
                for (long k = 0; k < @W@; k++) single[k] = pack[k] >= 0 ? (float)values[pack[k]] : (float)constants[~pack[k]];
                for (long k = 0; k < @WD@; k++) twice[k] = pack[@W@ + k] >= 0 ? values[pack[@W@ + k]] : constants[~pack[@W@ + k]];
                point(base, values);  // a block is of one point if this depends on it
            }
            for (long g = start; g < end; g++) {
                State here = base;
                here.T += (g - start) * @T@, here.TD += (g - start) * @TD@;
                const int lanes = samples - g * LANES < LANES ? (int)(samples - g * LANES) : LANES;
                if (first == 0) prepare(here, x, y, g * LANES, samples);
                for (long p = first; p < first + points_here; p++, here.W += @W@, here.WD += @WD@) {
                    body(here);
                    results(here, lanes, out + (p * samples + g * LANES) * @TARGETS@);
                }
            }
        }
    }
    return 0;
}
"""
