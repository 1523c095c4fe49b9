/* BC-ResNet on a few frames, for listening: the layers of bcresnet.h one after another.
 *
 * No memory is allocated and none is kept: models/compiled.py owns weights, state and scratch, and
 * sizes them by kws_sizes, which refuses a shape that the loops below could not run. A frame's
 * results depend on no other lane and on no address, so they are the same however a stream is cut.
 */
#include "bcresnet.h"

typedef struct {
    int64_t weights, state, scratch; /* floats */
} Sizes;

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

    line(input, features, stride, MELS, n, t, 4, s->causal ? 4 : 2, past);
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
        line(look, mean, t, out, n, t, 2 * dilation, dilation << s->causal, past);
        if (past) past += out * 2 * dilation;
        over_time(inner, look, w, w + out * 3, out, dilation, t);
        point(added, inner, w + out * 4, 0, out, out, t, 0);
        w += out * (4 + out);
        join(y, added, shortcut, out, rows, t);
        float *free_ = x;
        x = y, y = free_, channels = out, height = rows;
    }
    line(deep, x, t, channels * BANDS, n, t, 4, s->causal ? 4 : 2, past);
    if (past) past += channels * BANDS * 4;
    neck(inner, deep, w, channels, t);
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
