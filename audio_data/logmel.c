/* Log-mel features of a few frames, for listening: what logmel.py computes, each value of several
 * frames side by side in one vector. Built as it is and, for the x86-64 processors that have them,
 * with AVX2 and FMA. audio_data/frontend.py makes the tables and owns all memory.
 *
 * The spectrum of a real window of 2 N samples is that of N complex ones, untangled; N is taken
 * apart into small factors (Stockham's order, so that nothing is shuffled).
 */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

#ifdef __AVX2__
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif
enum { MAX_STAGES = 12, MAX_FACTOR = 128 };

typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH), aligned(4)));

/* As audio_data/frontend.py packs it. */
typedef struct {
    int32_t window, hop, mels, stages, factor[MAX_STAGES];
} Plan;

INLINE vec load(const float *x) { return *(const vec *)x; }
INLINE void store(float *x, vec y) { *(vec *)x = y; }
INLINE vec all(float x) { return x - (vec){0}; }

/* ln x for x at least 1, within 1e-7 of it or of one: its exponent, and a polynomial on the rest
 * from sqrt(1/2) to sqrt(2) (Cephes, logf). Infinity counts as the largest number. */
INLINE vec logarithm(vec x) {
    ivec bits, large = x > 3.4e38f;
    memcpy(&bits, &x, sizeof bits);
    bits = (large & 0x7f7fffff) | (~large & bits);
    ivec exponent = (bits >> 23) - 126;
    bits = (bits & 0x007fffff) | 0x3f000000; /* 0.5 to 1 */
    vec m;
    memcpy(&m, &bits, sizeof m);
    ivec small = m < 0.707106781186547524f; /* -1 where true */
    exponent += small;
    vec e = __builtin_convertvector(exponent, vec);
    vec x1 = m - 1.0f + (vec)((ivec)m & small);
    vec z = x1 * x1, y = x1 * 7.0376836292e-2f - 1.1514610310e-1f;
    y = y * x1 + 1.1676998740e-1f;
    y = y * x1 - 1.2420140846e-1f;
    y = y * x1 + 1.4249322787e-1f;
    y = y * x1 - 1.6668057665e-1f;
    y = y * x1 + 2.0000714765e-1f;
    y = y * x1 - 2.4999993993e-1f;
    y = y * x1 + 3.3333331174e-1f;
    y = y * x1 * z - e * 2.12194440e-4f - z * 0.5f;
    return x1 + y + e * 0.693359375f;
}

/* One point of a stage, times its factor. */
INLINE void turn(float *y, vec real, vec imaginary, const float *factor) {
    store(y, real * factor[0] - imaginary * factor[1]);
    store(y + WIDTH, real * factor[1] + imaginary * factor[0]);
}

/* One stage: r points, at a distance of n / r, become r neighbours. x, y: complex [N] of vectors.
 * t has for every p, j and k what point k counts in result j: for p = 0 the turns alone, for k = 0
 * the factors alone. Points k and r - k turn against each other, and so do results j and r - j. */
INLINE void stage(float *y, const float *x, const float *t, int64_t n, int64_t s, int64_t r) {
    int64_t m = n / r, pairs = (r - 1) / 2;
    for (int64_t p = 0; p < m; p++)
        for (int64_t q = 0; q < s; q++) {
            const float *first = x + (q + s * p) * 2 * WIDTH;
            vec real = load(first), imaginary = load(first + WIDTH);
            vec a[MAX_FACTOR], b[MAX_FACTOR];
            a[0] = real, b[0] = imaginary;
            for (int64_t k = 1; k < r; k++) {
                const float *from = first + s * m * k * 2 * WIDTH;
                a[k] = load(from), b[k] = load(from + WIDTH);
            }
            for (int64_t k = 1; k <= pairs; k++) { /* their sum, and in r - k's place what is left */
                vec one = a[k], other = b[k];
                a[k] += a[r - k], a[r - k] = one - a[r - k];
                b[k] += b[r - k], b[r - k] = other - b[r - k];
            }
            for (int64_t k = 1; k <= r / 2; k++) real += a[k], imaginary += b[k];
            float *to = y + (q + s * r * p) * 2 * WIDTH;
            store(to, real), store(to + WIDTH, imaginary);
            for (int64_t j = 1; j <= r / 2; j++) {
                const float *angle = t + 2 * j * r, *factors = t + 2 * p * r * r;
                vec even = a[0], even_i = b[0], odd = all(0), odd_i = all(0);
                for (int64_t k = 1; k <= r / 2; k++) even += a[k] * angle[2 * k];
                for (int64_t k = 1; k <= r / 2; k++) even_i += b[k] * angle[2 * k];
                for (int64_t k = 1; k <= pairs; k++) odd += b[r - k] * angle[2 * k + 1];
                for (int64_t k = 1; k <= pairs; k++) odd_i += a[r - k] * angle[2 * k + 1];
                turn(to + 2 * s * j * WIDTH, even - odd, even_i + odd_i, factors + 2 * j * r);
                if (r - j > j)
                    turn(to + 2 * s * (r - j) * WIDTH, even + odd, even_i - odd_i,
                         factors + 2 * (r - j) * r);
            }
        }
}

/* Whether this processor runs the build with AVX2 and FMA. */
PUBLIC int kws_has_avx2_fma(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

/* wave [(n - 1) hop + window] to features [mels, n].
 *   tables: window [window]; the stages' factors, each stage [n / r, r, r] complex; e^(-i pi k / N)
 *   for k = 0 to N; the filters one after another.
 *   spans: first bin and number of bins of every filter [mels, 2], none beyond bin N.
 *   scratch: 4 N + 4 and WIDTH floats for each of these. */
PUBLIC void kws_log_mel(const Plan *plan, const float *tables, const int32_t *spans, float *scratch,
                        const float *wave, int64_t n, float scale, float *features) {
    int64_t half = plan->window / 2;
    for (int64_t at = 0; at < n; at += WIDTH) {
        const float *t = tables, *begin[WIDTH];
        float *x = scratch, *y = scratch + 2 * half * WIDTH;
        for (int64_t i = 0; i < WIDTH; i++) /* beyond the last frame, the last once more */
            begin[i] = wave + (at + i < n ? at + i : n - 1) * plan->hop;
        for (int64_t k = 0; k < plan->window; k++) {
            vec v;
            for (int i = 0; i < WIDTH; i++) v[i] = begin[i][k];
            store(x + k * WIDTH, v * t[k]);
        }
        t += plan->window;
        for (int64_t i = 0, s = 1, left = half; i < plan->stages; i++) {
            int64_t r = plan->factor[i];
            if (r == 4)
                stage(y, x, t, left, s, 4);
            else if (r == 3)
                stage(y, x, t, left, s, 3);
            else if (r == 5)
                stage(y, x, t, left, s, 5);
            else
                stage(y, x, t, left, s, r);
            t += 2 * left * r;
            s *= r, left /= r;
            float *swap = x;
            x = y, y = swap;
        }
        for (int64_t k = 0; k <= half; k++, t += 2) { /* power [N + 1], in place of y */
            const float *a = x + (k < half ? k : 0) * 2 * WIDTH;
            const float *b = x + (k > 0 ? half - k : 0) * 2 * WIDTH;
            vec ar = load(a), ai = load(a + WIDTH), br = load(b), bi = load(b + WIDTH);
            vec er = ar + br, ei = ai - bi, or = ai + bi, oi = br - ar; /* twice even and odd */
            vec real = er + or * t[0] - oi * t[1], imaginary = ei + or * t[1] + oi * t[0];
            store(y + k * WIDTH, (real * real + imaginary * imaginary) * 0.25f);
        }
        int64_t count = n - at < WIDTH ? n - at : WIDTH;
        for (int64_t m = 0; m < plan->mels; m++) {
            vec sum = all(0);
            const float *power = y + spans[2 * m] * WIDTH;
            for (int64_t k = 0; k < spans[2 * m + 1]; k++) sum += load(power + k * WIDTH) * *t++;
            float out[WIDTH];
            store(out, logarithm(sum + 1.0f) * scale);
            memcpy(features + m * n + at, out, count * sizeof *out);
        }
    }
}
