/* BC-ResNet on a few frames, for listening: the layers of bcresnet.h one after another.
 *
 * No memory is allocated and none is kept: models/compiled.py owns weights, state and scratch, and
 * sizes them by kws_sizes, which refuses a shape that the loops below could not run. A frame's
 * results depend on no other lane and on no address, so they are the same however a stream is cut.
 */
#include "bcresnet.h"

typedef struct {
    int64_t state, scratch; /* floats */
} Sizes;

/* The first blocks of a network that hears views: their results at a frame depend on no frame that
 * is farther from it than LANES. */
typedef struct {
    int32_t blocks, rows; /* rows of their results */
} Early;

/* Offsets in scratch of what the layers of so many frames need: the input; three of the widest
 * results; three of one row each; the line that a convolution looks over; what the neck looks over;
 * for a view the last layer's results, frame by frame; their mean; the ends of early results. */
typedef struct {
    int64_t input, wide[3], narrow[3], look, deep, rows, average, ends, all;
} Layout;

/* The same as addresses. */
typedef struct {
    float *input, *x, *y, *z, *mean, *inner, *added, *look, *deep, *rows, *average, *ends;
    int32_t channels, height; /* of x */
} Workspace;

PUBLIC int kws_interface(void) { return INTERFACE; }

/* Whether this processor runs the build with AVX2 and FMA. */
PUBLIC int kws_has_avx2_fma(void) {
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

/* None in a causal network, which computes every frame once, or where views are short. */
static Early early(const Shape *s) {
    Early e = {0, 0};
    int32_t reach = 2, channels = s->stem, height = ROWS;
    if (s->causal || s->span < 4 * LANES) return e;
    for (; e.blocks < s->blocks && reach + s->block[e.blocks].dilation <= LANES; e.blocks++) {
        reach += s->block[e.blocks].dilation;
        height /= s->block[e.blocks].stride;
        channels = s->block[e.blocks].out;
    }
    e.rows = channels * height;
    return e;
}

/* Of a shape that kws_sizes accepts. */
static Layout lay_out(const Shape *s, int64_t t) {
    int64_t height = ROWS, widest = s->stem * ROWS, narrow = s->last, reach = 0;
    for (int b = 0; b < s->blocks; b++) {
        int64_t out = s->block[b].out;
        if (out * height > widest) widest = out * height;
        height /= s->block[b].stride;
        if (out > narrow) narrow = out;
        if (2 * s->block[b].dilation > reach) reach = 2 * s->block[b].dilation;
    }
    Layout l = {0};
    l.input = reserve(&l.all, MELS * (t + 4));
    for (int i = 0; i < 3; i++) l.wide[i] = reserve(&l.all, widest * t);
    for (int i = 0; i < 3; i++) l.narrow[i] = reserve(&l.all, narrow * t);
    l.look = reserve(&l.all, narrow * (t + reach));
    l.deep = reserve(&l.all, s->block[s->blocks - 1].out * BANDS * (t + 4));
    l.rows = reserve(&l.all, s->causal ? 0 : t * s->last);
    l.average = reserve(&l.all, s->last);
    l.ends = reserve(&l.all, (int64_t)early(s).rows * 2 * LANES);
    return l;
}

PUBLIC int kws_sizes(const Shape *s, int64_t frames, Sizes *sizes) {
    int32_t channels = s->stem, height = ROWS;
    if (s->blocks < 1 || s->blocks > MAX_BLOCKS || frames < 1 || frames > MAX_SIZE) return -1;
    if (s->span < 1 || s->span > MAX_SIZE || s->stem < 1 || s->stem > MAX_SIZE) return -1;
    if (s->last < 1 || s->last > MAX_SIZE || s->classes < 1) return -1;
    int64_t state = MELS * 4;
    for (int b = 0; b < s->blocks; b++) {
        int32_t in = s->block[b].in, out = s->block[b].out, dilation = s->block[b].dilation;
        if (in != channels || out < 1 || out > MAX_SIZE || dilation < 1 || dilation > 64) return -1;
        if (s->block[b].stride != 1 && s->block[b].stride != 2) return -1;
        if (in == out && s->block[b].stride != 1) return -1; /* the shortcut has all rows */
        if (height % s->block[b].stride) return -1;
        height /= s->block[b].stride;
        state += (int64_t)out * 2 * dilation;
        if (height % BANDS) return -1;
        channels = out;
    }
    if (height != BANDS) return -1;
    state += channels * BANDS * 4 + (int64_t)s->span * s->last;
    int64_t rows = early(s).rows;
    sizes->state = s->causal ? state : rows ? 1 + (MELS + rows) * s->span : 0;
    sizes->scratch = lay_out(s, padded(s->causal ? LANES : frames)).all;
    return 0;
}

INLINE Workspace workspace(const Shape *s, float *scratch, int64_t t) {
    Layout l = lay_out(s, t);
    return (Workspace){
        .input = scratch + l.input,
        .x = scratch + l.wide[0],
        .y = scratch + l.wide[1],
        .z = scratch + l.wide[2],
        .mean = scratch + l.narrow[0],
        .inner = scratch + l.narrow[1],
        .added = scratch + l.narrow[2],
        .look = scratch + l.look,
        .deep = scratch + l.deep,
        .rows = scratch + l.rows,
        .average = scratch + l.average,
        .ends = scratch + l.ends,
        .channels = s->stem,
        .height = ROWS,
    };
}

/* Frames [MELS, n] of a row stride, n at most t, to x; returns the weights of what follows. */
INLINE const float *begin(const Shape *s, const float *w, float **past, Workspace *r,
                          const float *features, int64_t stride, int64_t n, int64_t t) {
    line(r->input, features, stride, MELS, n, t, 4, s->causal ? 4 : 2, *past);
    if (*past) *past += MELS * 4;
    stem(r->x, r->input, w, w + s->stem * 25, s->stem, t);
    return w + s->stem * 26;
}

INLINE const float *blocks(const Shape *s, int from, int to, const float *w, float **past,
                           Workspace *r, int64_t n, int64_t t) {
    for (int b = from; b < to; b++) {
        int64_t out = s->block[b].out, dilation = s->block[b].dilation;
        int64_t rows = r->height / s->block[b].stride;
        const float *shortcut = r->x;
        if (r->channels != out) {
            pointwise(r->z, r->x, w, w + out * r->channels, r->channels, out, r->height * t, 1);
            w += out * (r->channels + 1);
            float *swap = r->x;
            r->x = r->z, r->z = swap, shortcut = 0;
        }
        frequency(r->y, r->mean, r->x, w, w + out * BANDS * 3, out, r->height, s->block[b].stride,
                  t);
        w += out * BANDS * 4;
        line(r->look, r->mean, t, out, n, t, 2 * dilation, dilation << s->causal, *past);
        if (*past) *past += out * 2 * dilation;
        over_time(r->inner, r->look, w, w + out * 3, out, dilation, t);
        pointwise(r->added, r->inner, w + out * 4, 0, out, out, t, 0);
        w += out * (4 + out);
        join(r->y, r->added, shortcut, out, rows, t);
        float *swap = r->x;
        r->x = r->y, r->y = swap, r->channels = out, r->height = rows;
    }
    return w;
}

/* x to what the mean over time takes: [last, t], in r->mean; returns the weights of the head. */
INLINE const float *end(const Shape *s, const float *w, float **past, Workspace *r, int64_t n,
                        int64_t t) {
    int64_t channels = r->channels;
    line(r->deep, r->x, t, channels * BANDS, n, t, 4, s->causal ? 4 : 2, *past);
    if (*past) *past += channels * BANDS * 4;
    neck(r->inner, r->deep, w, channels, t);
    w += channels * 25;
    pointwise(r->mean, r->inner, w, w + s->last * channels, channels, s->last, t, 1);
    return w + s->last * (channels + 1);
}

/* The early blocks on the first n of the frames [MELS, span], by themselves. */
static const float *early_blocks(const Shape *s, const float *w, float *scratch,
                                 const float *features, int64_t n, Workspace *r) {
    float *none = 0;
    int64_t t = padded(n);
    *r = workspace(s, scratch, t);
    w = begin(s, w, &none, r, features, s->span, n, t);
    return blocks(s, 0, early(s).blocks, w, &none, r, n, t);
}

/* early_blocks on a whole view. The state keeps the view before and its results. If this view is
 * that one moved on by LANES frames, only its ends are computed anew, from the first 2 LANES and
 * the last 3 LANES frames; what lies LANES and more from either end is as it was there. */
static const float *early_blocks_cached(const Shape *s, const float *weights, float *state,
                                        float *scratch, const float *features, Workspace *r) {
    Early e = early(s);
    int64_t n = s->span, t = padded(n), same = e.rows && state[0] != 0;
    float *before = state + 1, *kept = before + MELS * n;
    for (int64_t f = 0; f < MELS && same; f++)
        same = !memcmp(before + f * n + LANES, features + f * n, (n - LANES) * sizeof *before);
    if (e.rows) state[0] = 1, memcpy(before, features, MELS * n * sizeof *before);
    if (!same) {
        const float *w = early_blocks(s, weights, scratch, features, n, r);
        for (int64_t i = 0; i < e.rows; i++) memcpy(kept + i * n, r->x + i * t, n * sizeof *kept);
        return w;
    }
    float *ends = workspace(s, scratch, t).ends;
    early_blocks(s, weights, scratch, features, 2 * LANES, r);
    for (int64_t i = 0; i < e.rows; i++)
        memcpy(ends + 2 * i * LANES, r->x + 2 * i * LANES, LANES * sizeof *ends);
    const float *w = early_blocks(s, weights, scratch, features + n - 3 * LANES, 3 * LANES, r);
    for (int64_t i = 0; i < e.rows; i++) {
        float *row = kept + i * n, *last = r->x + 3 * i * LANES + LANES;
        memmove(row, row + LANES, (n - LANES) * sizeof *row);
        memcpy(row + n - 2 * LANES, last, LANES * sizeof *row);
        memcpy(ends + (2 * i + 1) * LANES, last + LANES, LANES * sizeof *row);
    }
    int32_t channels = r->channels, height = r->height;
    *r = workspace(s, scratch, t), r->channels = channels, r->height = height;
    for (int64_t i = 0; i < e.rows; i++) {
        float *to = r->x + i * t;
        memcpy(to, kept + i * n, n * sizeof *to);
        memcpy(to, ends + 2 * i * LANES, LANES * sizeof *to);
        memcpy(to + n - LANES, ends + (2 * i + 1) * LANES, LANES * sizeof *to);
        memset(to + n, 0, (t - n) * sizeof *to);
    }
    return w;
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
 * its state; another sees these n = span frames alone, and keeps what the next view may share.
 * Returns -1 for what it cannot take. */
PUBLIC int kws_hear(const Shape *s, const float *weights, float *state, float *scratch,
                    const float *features, int64_t n, float *scores) {
    int64_t d = s->last;
    Workspace r;
    if (n < 1 || (!s->causal && n != s->span)) return -1;
    if (!s->causal) {
        float *none = 0;
        int64_t t = padded(n);
        const float *w = early_blocks_cached(s, weights, state, scratch, features, &r);
        w = blocks(s, early(s).blocks, s->blocks, w, &none, &r, n, t);
        w = end(s, w, &none, &r, n, t);
        for (int64_t f = 0; f < n; f++)
            for (int64_t i = 0; i < d; i++) r.rows[f * d + i] = r.mean[i * t + f];
        decide(s, w, r.rows, n, r.average, scores);
        return 0;
    }
    const float *w = weights;
    float *rows = state;
    for (int64_t at = 0; at < n; at += LANES) {
        int64_t count = n - at < LANES ? n - at : LANES;
        rows = state, r = workspace(s, scratch, LANES);
        w = begin(s, weights, &rows, &r, features + at, n, count, LANES);
        w = blocks(s, 0, s->blocks, w, &rows, &r, count, LANES);
        w = end(s, w, &rows, &r, count, LANES);
        int64_t kept = s->span > count ? s->span - count : 0, first = count - (s->span - kept);
        memmove(rows, rows + (s->span - kept) * d, kept * d * sizeof *rows);
        for (int64_t f = first; f < count; f++)
            for (int64_t i = 0; i < d; i++)
                rows[(kept + f - first) * d + i] = r.mean[i * LANES + f];
    }
    decide(s, w, rows, s->span, r.average, scores);
    return 0;
}
