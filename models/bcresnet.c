/* BC-ResNet on a few frames, for listening: the layers of bcresnet.py with their normalisations
 * folded into the weights (folded.py), each value of eight frames side by side in vectors. This file
 * is built as it is and, for the x86-64 processors that have them, with AVX2 and FMA.
 *
 * No memory is allocated and none is kept: models/compiled.py owns weights, state and scratch, and
 * sizes them by kws_sizes, which refuses a shape that the loops below could not run. A frame's
 * results depend on no other lane and on no address, so they are the same however a stream is cut.
 */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

enum { LANES = 8, MELS = 40, ROWS = MELS / 2, BANDS = 5, MAX_BLOCKS = 32, MAX_SIZE = 4096 };

#ifdef __AVX2__
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH), aligned(4)));

/* As models/compiled.py packs it. */
typedef struct {
    int32_t causal, span, stem, last, classes, blocks;
    struct {
        int32_t in, out, stride, dilation;
    } block[MAX_BLOCKS];
} Shape;

typedef struct {
    int64_t weights, state, scratch; /* floats */
} Sizes;

INLINE vec load(const float *x) { return *(const vec *)x; }
INLINE void store(float *x, vec y) { *(vec *)x = y; }
INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec chosen(ivec where, vec x, vec y) { return (vec)((where & (ivec)x) | (~where & (ivec)y)); }
INLINE vec relu(vec x) { return (vec)((ivec)x & (x > 0.0f)); }
static int64_t padded(int64_t frames) { return (frames + LANES - 1) / LANES * LANES; }

/* e^x within 2e-7 of its size: 2^n times a polynomial on half an octave (Cephes, expf). */
INLINE vec exponential(vec x) {
    x = chosen(x < 88.0f, x, all(88.0f));
    x = chosen(x > -87.0f, x, all(-87.0f)); /* not a number too, so that the conversion is defined */
    vec n = x * 1.44269504f + 12582912.0f; /* the nearest integer: 1.5 * 2^23 leaves no fraction */
    n -= 12582912.0f;
    x -= n * 0.693359375f;
    x -= n * -2.12194440e-4f;
    vec y = x * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    y = y * x * x + x + 1.0f;
    ivec bits = (__builtin_convertvector(n, ivec) + 127) << 23;
    vec power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* Whether this processor runs the build with AVX2 and FMA. */
PUBLIC int kws_wide(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

PUBLIC int kws_sizes(const Shape *s, int64_t frames, Sizes *sizes) {
    int32_t channels = s->stem, height = ROWS, widest = s->stem * ROWS, narrow = 0;
    if (s->blocks < 1 || s->blocks > MAX_BLOCKS || frames < 1 || frames > MAX_SIZE) return -1;
    if (s->span < 1 || s->span > MAX_SIZE || s->stem < 1 || s->stem > MAX_SIZE) return -1;
    if (s->last < 1 || s->last > MAX_SIZE || s->classes < 1 || s->classes > MAX_SIZE) return -1;
    int64_t weights = s->stem * (25 + 1), state = MELS * 4, reach = 0;
    for (int b = 0; b < s->blocks; b++) {
        int32_t in = s->block[b].in, out = s->block[b].out, dilation = s->block[b].dilation;
        if (in != channels || out < 1 || out > MAX_SIZE || dilation < 1 || dilation > 64) return -1;
        if (s->block[b].stride != 1 && s->block[b].stride != 2) return -1;
        if (in != out) weights += (int64_t)out * (in + 1);
        if (out * height > widest) widest = out * height;
        if (height % s->block[b].stride) return -1;
        height /= s->block[b].stride;
        weights += (int64_t)out * (BANDS * 4 + 4 + out);
        state += (int64_t)out * 2 * dilation;
        if (height % BANDS) return -1;
        if (out > narrow) narrow = out;
        if (2 * dilation > reach) reach = 2 * dilation;
        channels = out;
    }
    if (height != BANDS) return -1;
    weights += channels * 25 + (int64_t)s->last * (channels + 1);
    weights += (int64_t)s->classes * (s->last + 1);
    state += channels * BANDS * 4 + (int64_t)s->span * s->last;
    if (s->last > narrow) narrow = s->last;
    int64_t t = padded(s->causal ? LANES : frames);
    sizes->weights = weights;
    sizes->state = s->causal ? state : 0;
    /* the input; three of the widest; three of one row; the line that a convolution looks over */
    sizes->scratch = MELS * (t + 4) + 3 * widest * t + 3 * narrow * t + channels * BANDS * (t + 4);
    sizes->scratch += narrow * (t + reach) + (s->causal ? 0 : t * s->last) + s->last;
    return 0;
}

/* [rows, n] -> [rows, t + reach]: before the frames what was there before them, or, where the
 * network is not causal, half of the reach in zeros on both sides. The state moves on. */
INLINE void line(float *to, const float *from, int64_t from_stride, int64_t rows, int64_t n,
                 int64_t t, int64_t reach, float *state) {
    int64_t before = state ? reach : reach / 2, stride = t + reach;
    for (int64_t r = 0; r < rows; r++, to += stride, from += from_stride) {
        if (state)
            memcpy(to, state + r * reach, reach * sizeof *to);
        else
            memset(to, 0, before * sizeof *to);
        memcpy(to + before, from, n * sizeof *to);
        memset(to + before + n, 0, (stride - before - n) * sizeof *to);
        if (state) memcpy(state + r * reach, to + n, reach * sizeof *to);
    }
}

/* [C, size] -> [O, size], size a multiple of WIDTH: y = W x + b, and relu. */
INLINE void point(float *y, const float *x, const float *w, const float *bias, int64_t channels,
                  int64_t out, int64_t size, int rectify) {
    for (int64_t p = 0; p < size; p += WIDTH) {
        int64_t o = 0;
        for (; o + 4 <= out; o += 4) {
            vec a = all(bias ? bias[o] : 0), b = all(bias ? bias[o + 1] : 0);
            vec c = all(bias ? bias[o + 2] : 0), d = all(bias ? bias[o + 3] : 0);
            const float *row = w + o * channels;
            for (int64_t i = 0; i < channels; i++) {
                vec in = load(x + i * size + p);
                a += in * row[i];
                b += in * row[i + channels];
                c += in * row[i + 2 * channels];
                d += in * row[i + 3 * channels];
            }
            float *to = y + o * size + p;
            store(to, rectify ? relu(a) : a);
            store(to + size, rectify ? relu(b) : b);
            store(to + 2 * size, rectify ? relu(c) : c);
            store(to + 3 * size, rectify ? relu(d) : d);
        }
        for (; o < out; o++) {
            vec a = all(bias ? bias[o] : 0);
            for (int64_t i = 0; i < channels; i++) a += load(x + i * size + p) * w[o * channels + i];
            store(y + o * size + p, rectify ? relu(a) : a);
        }
    }
}

/* [MELS, t + 4] -> [C, ROWS, t]: 5 x 5, every second band, two bands of zeros at either edge. */
INLINE void stem(float *y, const float *x, const float *w, const float *bias, int64_t channels,
                 int64_t t) {
    for (int64_t c = 0; c < channels; c += 4) {
        int64_t m = channels - c < 4 ? channels - c : 4;
        const float *row[4]; /* of fewer than four channels the first once more */
        for (int64_t i = 0; i < 4; i++) row[i] = w + (c + (i < m ? i : 0)) * 25;
        for (int64_t f = 0; f < ROWS; f++) {
            int64_t first = f == 0 ? 2 : 0, past = f == ROWS - 1 ? 4 : 5;
            for (int64_t p = 0; p < t; p += WIDTH) {
                vec sum[4] = {all(0), all(0), all(0), all(0)};
                for (int64_t k = first; k < past; k++)
                    for (int64_t j = 0; j < 5; j++) {
                        vec in = load(x + (2 * f + k - 2) * (t + 4) + p + j);
                        sum[0] += in * row[0][k * 5 + j];
                        sum[1] += in * row[1][k * 5 + j];
                        sum[2] += in * row[2][k * 5 + j];
                        sum[3] += in * row[3][k * 5 + j];
                    }
                for (int64_t i = 0; i < m; i++)
                    store(y + ((c + i) * ROWS + f) * t + p, relu(sum[i] + bias[c + i]));
            }
        }
    }
}

/* [C, height, t] -> [C, height / stride, t] and its mean over frequency [C, t]. */
INLINE void frequency(float *y, float *mean, const float *x, const float *w, const float *shift,
                      int64_t channels, int64_t height, int64_t stride, int64_t t) {
    int64_t rows = height / stride, band = rows / BANDS;
    for (int64_t c = 0; c < channels; c++, x += height * t, y += rows * t, mean += t)
        for (int64_t p = 0; p < t; p += WIDTH) {
            vec total = all(0);
            for (int64_t f = 0; f < rows; f++) {
                int64_t b = c * BANDS + f / band, at = f * stride;
                const float *k = w + b * 3;
                vec sum = all(shift[b]) + load(x + at * t + p) * k[1];
                if (at > 0) sum += load(x + (at - 1) * t + p) * k[0];
                if (at + 1 < height) sum += load(x + (at + 1) * t + p) * k[2];
                store(y + f * t + p, sum);
                total += sum;
            }
            store(mean + p, total * (1.0f / rows));
        }
}

/* What f1 does to the mean: over time, normalised, silu; [C, t + 2 dilation] -> [C, t]. */
INLINE void over_time(float *y, const float *x, const float *w, const float *bias,
                      int64_t channels, int64_t dilation, int64_t t) {
    for (int64_t c = 0; c < channels; c++, w += 3, x += t + 2 * dilation, y += t)
        for (int64_t p = 0; p < t; p += WIDTH) {
            vec sum = all(bias[c]) + load(x + p) * w[0];
            sum += load(x + p + dilation) * w[1] + load(x + p + 2 * dilation) * w[2];
            store(y + p, sum / (1.0f + exponential(-sum)));
        }
}

/* y = relu(wide + narrow + shortcut), in place of wide [C, rows, t]. */
INLINE void join(float *wide, const float *narrow, const float *shortcut, int64_t channels,
                 int64_t rows, int64_t t) {
    for (int64_t c = 0; c < channels; c++)
        for (int64_t f = 0; f < rows; f++)
            for (int64_t p = 0; p < t; p += WIDTH) {
                int64_t at = (c * rows + f) * t + p;
                vec y = load(wide + at) + load(narrow + c * t + p);
                store(wide + at, relu(shortcut ? y + load(shortcut + at) : y));
            }
}

/* Frames [MELS, n] of a row stride, n at most t, to what the mean over time takes: [last, t]. */
INLINE float *trunk(const Shape *s, const float **weights, float **state, float **scratch,
                    const float *features, int64_t stride, int64_t n, int64_t t) {
    const float *w = *weights;
    float *past = *state, *input = *scratch;
    int64_t channels = s->stem, height = ROWS, widest = s->stem * ROWS, narrow = s->last;
    int64_t reach = 0;
    for (int b = 0; b < s->blocks; b++) {
        int64_t size = s->block[b].out * height;
        height /= s->block[b].stride;
        if (size > widest) widest = size;
        if (s->block[b].out > narrow) narrow = s->block[b].out;
        if (2 * s->block[b].dilation > reach) reach = 2 * s->block[b].dilation;
    }
    float *x = input + MELS * (t + 4), *y = x + widest * t, *z = y + widest * t;
    float *mean = z + widest * t, *inner = mean + narrow * t, *added = inner + narrow * t;
    float *look = added + narrow * t, *deep = look + narrow * (t + reach);

    line(input, features, stride, MELS, n, t, 4, past);
    if (past) past += MELS * 4;
    stem(x, input, w, w + s->stem * 25, s->stem, t);
    w += s->stem * 26;
    height = ROWS;
    for (int b = 0; b < s->blocks; b++) {
        int64_t out = s->block[b].out, dilation = s->block[b].dilation;
        int64_t rows = height / s->block[b].stride;
        const float *shortcut = x;
        if (channels != out) {
            point(z, x, w, w + out * channels, channels, out, height * t, 1);
            w += out * (channels + 1);
            float *free_ = x;
            x = z, z = free_, shortcut = 0;
        }
        frequency(y, mean, x, w, w + out * BANDS * 3, out, height, s->block[b].stride, t);
        w += out * BANDS * 4;
        line(look, mean, t, out, n, t, 2 * dilation, past);
        if (past) past += out * 2 * dilation;
        over_time(inner, look, w, w + out * 3, out, dilation, t);
        point(added, inner, w + out * 4, 0, out, out, t, 0);
        w += out * (4 + out);
        join(y, added, shortcut, out, rows, t);
        float *free_ = x;
        x = y, y = free_, channels = out, height = rows;
    }
    line(deep, x, t, channels * BANDS, n, t, 4, past);
    if (past) past += channels * BANDS * 4;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < t; p += WIDTH) {
            vec sum = all(0);
            for (int64_t k = 0; k < BANDS; k++)
                for (int64_t j = 0; j < 5; j++)
                    sum += load(deep + (c * BANDS + k) * (t + 4) + p + j) * w[c * 25 + k * 5 + j];
            store(inner + c * t + p, sum);
        }
    w += channels * 25;
    point(mean, inner, w, w + s->last * channels, channels, s->last, t, 1);
    *weights = w + s->last * (channels + 1);
    *state = past;
    *scratch = deep + channels * BANDS * (t + 4);
    return mean;
}

/* The head on the mean of rows [count, D], and softmax: scores [K]. */
INLINE void decide(const Shape *s, const float *w, const float *rows, int64_t count, float *mean,
                   float *scores) {
    int64_t d = s->last;
    memset(mean, 0, d * sizeof *mean);
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < d; i++) mean[i] += rows[r * d + i];
    for (int64_t i = 0; i < d; i++) mean[i] /= s->span;
    float top = -3e38f, total = 0;
    for (int64_t k = 0; k < s->classes; k++) {
        float sum = w[s->classes * d + k];
        for (int64_t i = 0; i < d; i++) sum += mean[i] * w[k * d + i];
        scores[k] = sum;
        top = sum > top ? sum : top;
    }
    for (int64_t k = 0; k < s->classes; k++) {
        scores[k] = exponential(all(scores[k] - top))[0];
        total += scores[k];
    }
    for (int64_t k = 0; k < s->classes; k++) scores[k] /= total;
}

/* Take frames [MELS, n]; give the decision at the last of them [K]. A causal network goes on from
 * its state; another sees these n = span frames alone. Returns -1 for what it cannot take. */
PUBLIC int kws_hear(const Shape *s, const float *weights, float *state, float *scratch,
                    const float *features, int64_t n, float *scores) {
    int64_t d = s->last;
    if (n < 1 || (!s->causal && n != s->span)) return -1;
    if (!s->causal) {
        float *none = 0, *rest = scratch;
        int64_t t = padded(n);
        float *x = trunk(s, &weights, &none, &rest, features, n, n, t);
        for (int64_t f = 0; f < n; f++)
            for (int64_t i = 0; i < d; i++) rest[f * d + i] = x[i * t + f];
        decide(s, weights, rest, n, rest + n * d, scores);
        return 0;
    }
    const float *w = weights;
    float *rows = state, *rest = scratch;
    for (int64_t at = 0; at < n; at += LANES) {
        int64_t count = n - at < LANES ? n - at : LANES;
        w = weights, rows = state, rest = scratch;
        float *x = trunk(s, &w, &rows, &rest, features + at, n, count, LANES);
        int64_t kept = s->span > count ? s->span - count : 0, first = count - (s->span - kept);
        memmove(rows, rows + (s->span - kept) * d, kept * d * sizeof *rows);
        for (int64_t f = first; f < count; f++)
            for (int64_t i = 0; i < d; i++) rows[(kept + f - first) * d + i] = x[i * LANES + f];
    }
    decide(s, w, rows, s->span, rest, scores);
    return 0;
}
