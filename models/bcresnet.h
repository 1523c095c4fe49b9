/* The layers of BC-ResNet with their normalisations folded into the weights (folded.py), each value
 * of eight frames side by side in vectors; what listening (bcresnet.c) and learning (gradient.c)
 * share. Both are built as they are and, for the x86-64 processors that have them, with AVX2 and FMA.
 */
#ifndef BCRESNET_H
#define BCRESNET_H
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* As in models/compiled.py: another where a function takes or gives other things than before. */
enum { INTERFACE = 2 };
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

INLINE vec load(const float *x) { return *(const vec *)x; }
INLINE void store(float *x, vec y) { *(vec *)x = y; }
INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec chosen(ivec where, vec x, vec y) {
    return (vec)((where & (ivec)x) | (~where & (ivec)y));
}
INLINE vec relu(vec x) { return (vec)((ivec)x & (x > 0.0f)); }
/* Where the next of so many numbers begin. */
static int64_t reserve(int64_t *all, int64_t count) {
    int64_t at = *all;
    *all += count;
    return at;
}
static int64_t padded(int64_t frames) { return (frames + LANES - 1) / LANES * LANES; }

/* e^x within 2e-7 of its size: 2^n times a polynomial on half an octave (Cephes, expf). */
INLINE vec exponential(vec x) {
    x = chosen(x < 88.0f, x, all(88.0f));
    /* not a number too, so that the conversion is defined */
    x = chosen(x > -87.0f, x, all(-87.0f));
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

/* [rows, n] -> [rows, t + reach]: `before` the frames what was there before them, zeros where there
 * is no state, and zeros after them. The state moves on. */
INLINE void line_of(float *to, const float *from, int64_t from_stride, int64_t rows, int64_t n,
                    int64_t t, int64_t reach, int64_t before, float *state) {
    int64_t stride = t + reach;
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

/* The same; lengths that the compiler knows need no function that copies. */
INLINE void line(float *to, const float *from, int64_t from_stride, int64_t rows, int64_t n,
                 int64_t t, int64_t reach, int64_t before, float *state) {
    if (!state || n != LANES || t != LANES)
        line_of(to, from, from_stride, rows, n, t, reach, before, state);
    else if (reach == 2)
        line_of(to, from, from_stride, rows, LANES, LANES, 2, 2, state);
    else if (reach == 4)
        line_of(to, from, from_stride, rows, LANES, LANES, 4, 4, state);
    else if (reach == 8)
        line_of(to, from, from_stride, rows, LANES, LANES, 8, 8, state);
    else if (reach == 16)
        line_of(to, from, from_stride, rows, LANES, LANES, 16, 16, state);
    else
        line_of(to, from, from_stride, rows, n, t, reach, before, state);
}

/* One or two vectors of each output: two hide how long a sum takes, and halve what is read. */
INLINE void pointwise_at(float *y, const float *x, const float *w, const float *bias,
                         int64_t channels, int64_t out, int64_t size, int rectify,
                         int64_t vectors) {
    for (int64_t o = 0; o < out; o += 4) {
        int64_t m = out - o < 4 ? out - o : 4;
        const float *row[4]; /* of fewer than four outputs the first once more */
        vec sum[4][2];
        for (int64_t k = 0; k < 4; k++) {
            int64_t one = o + (k < m ? k : 0);
            row[k] = w + one * channels;
            for (int64_t v = 0; v < vectors; v++) sum[k][v] = all(bias ? bias[one] : 0);
        }
        for (int64_t i = 0; i < channels; i++)
            for (int64_t v = 0; v < vectors; v++) {
                vec in = load(x + i * size + v * WIDTH);
                for (int64_t k = 0; k < 4; k++) sum[k][v] += in * row[k][i];
            }
        for (int64_t k = 0; k < m; k++)
            for (int64_t v = 0; v < vectors; v++)
                store(y + (o + k) * size + v * WIDTH, rectify ? relu(sum[k][v]) : sum[k][v]);
    }
}

/* [C, size] -> [O, size], size a multiple of WIDTH: y = W x + b, and relu. */
INLINE void pointwise(float *y, const float *x, const float *w, const float *bias, int64_t channels,
                      int64_t out, int64_t size, int rectify) {
    int64_t p = 0;
    for (; p + 2 * WIDTH <= size; p += 2 * WIDTH)
        pointwise_at(y + p, x + p, w, bias, channels, out, size, rectify, 2);
    if (p < size) pointwise_at(y + p, x + p, w, bias, channels, out, size, rectify, 1);
}

/* One row of m channels of the stem, four at most. */
INLINE void stem_at(float *y, const float *x, const float *const *row, const float *bias, int64_t m,
                    int64_t f, int64_t t, int64_t vectors) {
    int64_t first = f == 0 ? 2 : 0, past = f == ROWS - 1 ? 4 : 5;
    vec sum[4][2] = {{all(0), all(0)}, {all(0), all(0)}, {all(0), all(0)}, {all(0), all(0)}};
    for (int64_t k = first; k < past; k++)
        for (int64_t j = 0; j < 5; j++)
            for (int64_t v = 0; v < vectors; v++) {
                vec in = load(x + (2 * f + k - 2) * (t + 4) + v * WIDTH + j);
                for (int64_t i = 0; i < 4; i++) sum[i][v] += in * row[i][k * 5 + j];
            }
    for (int64_t i = 0; i < m; i++)
        for (int64_t v = 0; v < vectors; v++)
            store(y + (i * ROWS + f) * t + v * WIDTH, relu(sum[i][v] + bias[i]));
}

/* [MELS, t + 4] -> [C, ROWS, t]: 5 x 5, every second band, two bands of zeros at either edge. */
INLINE void stem(float *y, const float *x, const float *w, const float *bias, int64_t channels,
                 int64_t t) {
    for (int64_t c = 0; c < channels; c += 4) {
        int64_t m = channels - c < 4 ? channels - c : 4;
        const float *row[4]; /* of fewer than four channels the first once more */
        for (int64_t i = 0; i < 4; i++) row[i] = w + (c + (i < m ? i : 0)) * 25;
        for (int64_t f = 0; f < ROWS; f++) {
            int64_t p = 0;
            float *to = y + c * ROWS * t;
            for (; p + 2 * WIDTH <= t; p += 2 * WIDTH)
                stem_at(to + p, x + p, row, bias + c, m, f, t, 2);
            if (p < t) stem_at(to + p, x + p, row, bias + c, m, f, t, 1);
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
            int64_t f = 0;
            for (int64_t b = c * BANDS; b < (c + 1) * BANDS; b++) {
                vec before = all(w[b * 3]), here = all(w[b * 3 + 1]), after = all(w[b * 3 + 2]);
                for (int64_t end = f + band; f < end; f++) {
                    const float *row = x + f * stride * t + p;
                    vec sum = all(shift[b]) + load(row) * here;
                    if (f > 0) sum += load(row - t) * before;
                    if (f * stride + 1 < height) sum += load(row + t) * after;
                    store(y + f * t + p, sum);
                    total += sum;
                }
            }
            store(mean + p, total * (1.0f / rows));
        }
}

/* What f1 does to the mean: over time, normalised, silu; [C, t + 2 dilation] -> [C, t]. */
INLINE void over_time(float *y, const float *x, const float *w, const float *bias, int64_t channels,
                      int64_t dilation, int64_t t) {
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

/* [C, BANDS, t + 4] -> [C, t]: all bands of each channel, five frames. */
INLINE void neck(float *y, const float *x, const float *w, int64_t channels, int64_t t) {
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < t; p += WIDTH) {
            vec sum = all(0);
            for (int64_t k = 0; k < BANDS; k++)
                for (int64_t j = 0; j < 5; j++)
                    sum += load(x + (c * BANDS + k) * (t + 4) + p + j) * w[c * 25 + k * 5 + j];
            store(y + c * t + p, sum);
        }
}

#endif
