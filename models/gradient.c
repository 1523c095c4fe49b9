/* BC-ResNet for learning a language: the layers of bcresnet.h forward, and the gradient of all their
 * weights, clip by clip, so that what a clip needs stays in the processor's cache. Normalisations
 * keep their statistics (kws/deltas.py); they are folded here, and the gradient is unfolded.
 *
 * As in bcresnet.c no memory is allocated and none is kept; models/gradient.py owns it. The gradient
 * is added to what is there, one clip after another, so it is the same however clips are shared out.
 */
#include "bcresnet.h"

typedef struct {
    int64_t raw, statistics, folded, scratch; /* floats */
} Needs;

/* Where in the scratch a clip's values are kept, in floats. */
typedef struct {
    int64_t t, input, stem, deep, inner, last;
    int64_t dx, dy;     /* gradients of a block's input and output, exchanged block by block */
    int64_t deep_grad;  /* of the neck's input */
    int64_t narrow;     /* of what a block averages over frequency */
    int64_t look_grad;  /* of what a convolution over time sees */
    int64_t transposed; /* a pointwise convolution's weights */
    int64_t all;
    struct {
        int64_t widened, look, inner, out;
    } block[MAX_BLOCKS];
} Layout;

static Layout lay_out(const Shape *s, int64_t frames) {
    Layout l;
    int64_t t = l.t = padded(frames), height = ROWS, channels = s->stem, all = 0;
    int64_t widest = s->stem * ROWS, narrow = s->last, reach = 4, matrix = s->last * s->stem;
    l.input = reserve(&all, MELS * (t + 4));
    l.stem = reserve(&all, s->stem * ROWS * t);
    for (int b = 0; b < s->blocks; b++) {
        int64_t out = s->block[b].out, dilation = s->block[b].dilation;
        l.block[b].widened = out == channels ? 0 : reserve(&all, out * height * t);
        if (out * height > widest) widest = out * height;
        if (out * (channels > out ? channels : out) > matrix)
            matrix = out * (channels > out ? channels : out);
        height /= s->block[b].stride;
        l.block[b].look = reserve(&all, out * (t + 2 * dilation));
        l.block[b].inner = reserve(&all, out * t);
        l.block[b].out = reserve(&all, out * height * t);
        if (2 * dilation > reach) reach = 2 * dilation;
        if (out > narrow) narrow = out;
        channels = out;
    }
    if (s->last * channels > matrix) matrix = s->last * channels;
    l.deep = reserve(&all, channels * BANDS * (t + 4));
    l.inner = reserve(&all, channels * t);
    l.last = reserve(&all, s->last * t);
    l.dx = reserve(&all, widest * t);
    l.dy = reserve(&all, widest * t);
    l.deep_grad = reserve(&all, channels * BANDS * (t + 4));
    l.narrow = reserve(&all, narrow * t);
    l.look_grad = reserve(&all, narrow * (t + reach));
    l.transposed = reserve(&all, matrix);
    l.all = all;
    return l;
}

/* A row of numbers one after another: where each kind of weight is read and written. */
typedef struct {
    const float *raw, *statistics, *grad; /* as in the network; mean and 1 / deviation */
    float *folded, *raw_grad;
} Cursor;

/* A convolution [O, I] and its normalisation, of each of some sub-bands: fold, or unfold a
 * gradient. */
static void normalised(Cursor *c, int64_t out, int64_t in, int64_t bands, int back) {
    int64_t rows = out * bands;
    const float *scale = c->raw + out * in, *shift = scale + rows;
    const float *mean = c->statistics, *rate = mean + rows;
    for (int64_t r = 0; r < rows; r++) {
        const float *w = c->raw + r / bands * in;
        float factor = scale[r] * rate[r];
        if (back) {
            const float *grad = c->grad + r * in;
            float *to = c->raw_grad + r / bands * in, of_factor = -mean[r] * c->grad[rows * in + r];
            for (int64_t i = 0; i < in; i++) {
                to[i] += grad[i] * factor;
                of_factor += grad[i] * w[i];
            }
            c->raw_grad[out * in + r] += of_factor * rate[r];
            c->raw_grad[out * in + rows + r] += c->grad[rows * in + r];
        } else {
            for (int64_t i = 0; i < in; i++) c->folded[r * in + i] = w[i] * factor;
            c->folded[rows * in + r] = shift[r] - mean[r] * factor;
        }
    }
    c->raw += out * in + 2 * rows;
    c->statistics += 2 * rows;
    if (back) {
        c->raw_grad += out * in + 2 * rows;
        c->grad += rows * (in + 1);
    } else {
        c->folded += rows * (in + 1);
    }
}

/* Weights without a normalisation. */
static void plain(Cursor *c, int64_t count, int back) {
    for (int64_t i = 0; i < count; i++) {
        if (back)
            c->raw_grad[i] += c->grad[i];
        else
            c->folded[i] = c->raw[i];
    }
    c->raw += count;
    if (back)
        c->raw_grad += count, c->grad += count;
    else
        c->folded += count;
}

static void walk(const Shape *s, Cursor c, int back) {
    int64_t channels = s->stem;
    normalised(&c, s->stem, 25, 1, back);
    for (int b = 0; b < s->blocks; b++) {
        int64_t out = s->block[b].out;
        if (out != channels) normalised(&c, out, channels, 1, back);
        normalised(&c, out, 3, BANDS, back);
        normalised(&c, out, 3, 1, back);
        plain(&c, out * out, back);
        channels = out;
    }
    plain(&c, channels * 25, back);
    normalised(&c, s->last, channels, 1, back);
}

/* What a shape that kws_sizes accepts takes; the head is not among its weights. */
PUBLIC void kws_needs(const Shape *s, int64_t frames, Needs *needs) {
    int64_t channels = s->stem, raw = s->stem * 27, norms = s->stem, folded = s->stem * 26;
    for (int b = 0; b < s->blocks; b++) {
        int64_t out = s->block[b].out;
        if (out != channels) {
            raw += out * (channels + 2);
            folded += out * (channels + 1);
            norms += out;
        }
        raw += out * (3 + 2 * BANDS + 5 + out);
        folded += out * (4 * BANDS + 4 + out);
        norms += out * (BANDS + 1);
        channels = out;
    }
    needs->raw = raw + channels * 25 + s->last * (channels + 2);
    needs->folded = folded + channels * 25 + s->last * (channels + 1);
    needs->statistics = 2 * (norms + s->last);
    needs->scratch = lay_out(s, frames).all;
}

PUBLIC void kws_fold(const Shape *s, const float *raw, const float *statistics, float *folded) {
    walk(s, (Cursor){raw, statistics, 0, folded, 0}, 0);
}

/* From the gradient of the folded weights to that of the weights as they are in the network. */
PUBLIC void kws_unfold(const Shape *s, const float *raw, const float *statistics, const float *grad,
                       float *raw_grad) {
    walk(s, (Cursor){raw, statistics, grad, 0, raw_grad}, 1);
}

/* Frames [MELS, n] to the last layer's [D, t]; all that `backward` needs is kept. */
static void forward(const Shape *s, const float *w, const Layout *l, const float *features,
                    int64_t n, float *kept) {
    int64_t t = l->t, channels = s->stem, height = ROWS;
    float *x = kept + l->stem, *mean = kept + l->narrow, *added = kept + l->look_grad;
    line(kept + l->input, features, n, MELS, n, t, 4, s->causal ? 4 : 2, 0);
    stem(x, kept + l->input, w, w + s->stem * 25, s->stem, t);
    w += s->stem * 26;
    for (int b = 0; b < s->blocks; b++) {
        int64_t out = s->block[b].out, dilation = s->block[b].dilation;
        int64_t rows = height / s->block[b].stride;
        float *y = kept + l->block[b].out, *look = kept + l->block[b].look;
        const float *shortcut = x;
        if (channels != out) {
            float *widened = kept + l->block[b].widened;
            pointwise(widened, x, w, w + out * channels, channels, out, height * t, 1);
            w += out * (channels + 1);
            x = widened, shortcut = 0;
        }
        frequency(y, mean, x, w, w + out * BANDS * 3, out, height, s->block[b].stride, t);
        w += out * BANDS * 4;
        line(look, mean, t, out, n, t, 2 * dilation, dilation << s->causal, 0);
        over_time(kept + l->block[b].inner, look, w, w + out * 3, out, dilation, t);
        pointwise(added, kept + l->block[b].inner, w + out * 4, 0, out, out, t, 0);
        w += out * (4 + out);
        join(y, added, shortcut, out, rows, t);
        x = y, channels = out, height = rows;
    }
    float *deep = kept + l->deep;
    line(deep, x, t, channels * BANDS, n, t, 4, s->causal ? 4 : 2, 0);
    neck(kept + l->inner, deep, w, channels, t);
    w += channels * 25;
    pointwise(kept + l->last, kept + l->inner, w, w + s->last * channels, channels, s->last, t, 1);
}

INLINE float total(vec x) {
    float sum = 0;
    for (int i = 0; i < WIDTH; i++) sum += x[i];
    return sum;
}

/* dw[o, i] += sum over p of dy[o, p] x[i, p], and db[o] += sum of dy[o, p] where there is a bias. */
INLINE void pointwise_grad(float *dw, float *db, const float *dy, const float *x, int64_t channels,
                           int64_t out, int64_t size) {
    for (int64_t o = 0; o < out; o += 4) {
        int64_t many = out - o < 4 ? out - o : 4;
        const float *row[4]; /* of fewer than four the first once more */
        for (int64_t r = 0; r < 4; r++) row[r] = dy + (o + (r < many ? r : 0)) * size;
        for (int64_t i = 0; i < channels; i += 2) {
            int64_t both = channels - i > 1;
            const float *left = x + i * size, *right = left + both * size;
            vec sum[8] = {all(0), all(0), all(0), all(0), all(0), all(0), all(0), all(0)};
            for (int64_t p = 0; p < size; p += WIDTH) {
                vec a = load(left + p), b = load(right + p);
                for (int64_t r = 0; r < 4; r++) {
                    vec grad = load(row[r] + p);
                    sum[r] += grad * a;
                    sum[r + 4] += grad * b;
                }
            }
            for (int64_t r = 0; r < many; r++) {
                dw[(o + r) * channels + i] += total(sum[r]);
                if (both) dw[(o + r) * channels + i + 1] += total(sum[r + 4]);
            }
        }
    }
    for (int64_t o = 0; db && o < out; o++) {
        vec sum = all(0);
        for (int64_t p = 0; p < size; p += WIDTH) sum += load(dy + o * size + p);
        db[o] += total(sum);
    }
}

/* [O, size] -> [C, size]: dx = W' dy. */
INLINE void pointwise_backward(float *dx, const float *dy, const float *w, float *transposed,
                               int64_t channels, int64_t out, int64_t size) {
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < channels; i++) transposed[i * out + o] = w[o * channels + i];
    pointwise(dx, dy, transposed, 0, out, channels, size, 0);
}

/* No gradient passes where a rectified value is zero. */
INLINE void relu_backward(float *dy, const float *y, int64_t size) {
    for (int64_t p = 0; p < size; p += WIDTH)
        store(dy + p, (vec)((ivec)load(dy + p) & (load(y + p) > 0.0f)));
}

/* Gradients of y = relu(wide + narrow + shortcut): dy where y is positive, its sum over bands. */
INLINE void join_backward(float *dy, float *narrow, const float *y, int64_t channels, int64_t rows,
                          int64_t t) {
    relu_backward(dy, y, channels * rows * t);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < t; p += WIDTH) {
            vec sum = all(0);
            for (int64_t f = 0; f < rows; f++) sum += load(dy + (c * rows + f) * t + p);
            store(narrow + c * t + p, sum);
        }
}

/* Gradients of over_time: dy [C, t] becomes that of the sum before silu; dx [C, t + 2 dilation]. */
INLINE void over_time_backward(float *dx, float *dw, float *dy, const float *x, const float *w,
                               int64_t channels, int64_t dilation, int64_t t) {
    const float *bias = w + channels * 3;
    memset(dx, 0, channels * (t + 2 * dilation) * sizeof *dx);
    for (int64_t c = 0; c < channels; c++) {
        vec sums[4] = {all(0), all(0), all(0), all(0)};
        const float *in = x + c * (t + 2 * dilation);
        float *to = dx + c * (t + 2 * dilation);
        for (int64_t p = 0; p < t; p += WIDTH) {
            vec tap[3], z = all(bias[c]);
            for (int64_t k = 0; k < 3; k++) {
                tap[k] = load(in + p + k * dilation);
                z += tap[k] * w[c * 3 + k];
            }
            vec open = 1.0f / (1.0f + exponential(-z));
            vec grad = load(dy + c * t + p) * open * (1.0f + z * (1.0f - open));
            for (int64_t k = 0; k < 3; k++) sums[k] += grad * tap[k];
            sums[3] += grad;
            store(dy + c * t + p, grad);
        }
        for (int64_t k = 0; k < 3; k++) {
            dw[c * 3 + k] += total(sums[k]);
            for (int64_t p = 0; p < t; p += WIDTH) {
                float *at = to + p + k * dilation;
                store(at, load(at) + load(dy + c * t + p) * w[c * 3 + k]);
            }
        }
        dw[channels * 3 + c] += total(sums[3]);
    }
}

/* Gradients of frequency: dx [C, height, t] from dy [C, rows, t] and that of the mean [C, t]. Where
 * there is a shortcut, dy without the mean's is added. */
INLINE void frequency_backward(float *dx, float *dw, const float *dy, const float *mean,
                               const float *x, const float *w, int64_t channels, int64_t height,
                               int64_t stride, int64_t t, int shortcut) {
    int64_t rows = height / stride, band = rows / BANDS;
    float *shift = dw + channels * BANDS * 3;
    for (int64_t c = 0; c < channels; c++) {
        const float *in = x + c * height * t, *grad = dy + c * rows * t;
        float *to = dx + c * height * t;
        if (shortcut)
            memcpy(to, grad, height * t * sizeof *to);
        else
            memset(to, 0, height * t * sizeof *to);
        for (int64_t f = 0; f < rows; f++) {
            int64_t b = c * BANDS + f / band, at = f * stride;
            const float *k = w + b * 3;
            const float *here = in + at * t, *below = at > 0 ? here - t : 0;
            const float *above = at + 1 < height ? here + t : 0;
            vec sums[4] = {all(0), all(0), all(0), all(0)};
            for (int64_t p = 0; p < t; p += WIDTH) {
                vec d = load(grad + f * t + p) + load(mean + c * t + p) * (1.0f / rows);
                float *middle = to + at * t + p;
                sums[1] += d * load(here + p);
                sums[3] += d;
                store(middle, load(middle) + d * k[1]);
                if (below) {
                    sums[0] += d * load(below + p);
                    store(middle - t, load(middle - t) + d * k[0]);
                }
                if (above) {
                    sums[2] += d * load(above + p);
                    store(middle + t, load(middle + t) + d * k[2]);
                }
            }
            for (int64_t j = 0; j < 3; j++) dw[b * 3 + j] += total(sums[j]);
            shift[b] += total(sums[3]);
        }
    }
}

/* Gradients of neck: dx [C, BANDS, t + 4] from dy [C, t]. */
INLINE void neck_backward(float *dx, float *dw, const float *dy, const float *x, const float *w,
                          int64_t channels, int64_t t) {
    memset(dx, 0, channels * BANDS * (t + 4) * sizeof *dx);
    for (int64_t r = 0; r < channels * BANDS; r++, x += t + 4, dx += t + 4) {
        const float *grad = dy + r / BANDS * t;
        for (int64_t j = 0; j < 5; j++) {
            vec sum = all(0);
            for (int64_t p = 0; p < t; p += WIDTH) {
                vec d = load(grad + p);
                sum += d * load(x + p + j);
                store(dx + p + j, load(dx + p + j) + d * w[r * 5 + j]);
            }
            dw[r * 5 + j] += total(sum);
        }
    }
}

/* Gradients of the stem's weights and biases from dy [C, ROWS, t]; x is [MELS, t + 4]. */
INLINE void stem_grad(float *dw, const float *dy, const float *x, int64_t channels, int64_t t) {
    for (int64_t c = 0; c < channels; c += 2) {
        int64_t both = channels - c > 1;
        const float *left = dy + c * ROWS * t, *right = left + both * ROWS * t;
        for (int64_t k = 0; k < 5; k++) {
            vec sum[10] = {all(0), all(0), all(0), all(0), all(0),
                           all(0), all(0), all(0), all(0), all(0)};
            for (int64_t f = k < 2; f < ROWS - (k > 3); f++)
                for (int64_t p = 0; p < t; p += WIDTH) {
                    vec a = load(left + f * t + p), b = load(right + f * t + p);
                    const float *in = x + (2 * f + k - 2) * (t + 4) + p;
                    for (int64_t j = 0; j < 5; j++) {
                        vec value = load(in + j);
                        sum[j] += a * value;
                        sum[j + 5] += b * value;
                    }
                }
            for (int64_t j = 0; j < 5; j++) {
                dw[c * 25 + k * 5 + j] += total(sum[j]);
                if (both) dw[(c + 1) * 25 + k * 5 + j] += total(sum[j + 5]);
            }
        }
        for (int64_t r = c; r < c + 1 + both; r++) {
            vec sum = all(0);
            for (int64_t p = 0; p < ROWS * t; p += WIDTH) sum += load(dy + r * ROWS * t + p);
            dw[channels * 25 + r] += total(sum);
        }
    }
}

/* Backwards from the gradient of the last layer [D, n]; what forward kept is read, and the
 * gradients of the folded weights are added to dw. */
static void backward(const Shape *s, const float *w, const Layout *l, const float *grad, int64_t n,
                     float *kept, float *dw) {
    int64_t t = l->t, channels = s->block[s->blocks - 1].out, height = BANDS, d = s->last;
    float *dx = kept + l->dx, *dy = kept + l->dy, *narrow = kept + l->narrow;
    float *look = kept + l->look_grad, *transposed = kept + l->transposed;
    Needs needs;
    kws_needs(s, n, &needs);
    w += needs.folded, dw += needs.folded; /* from here on backwards */

    w -= d * (channels + 1), dw -= d * (channels + 1);
    line(narrow, grad, n, d, n, t, 0, 0, 0);
    relu_backward(narrow, kept + l->last, d * t);
    pointwise_grad(dw, dw + d * channels, narrow, kept + l->inner, channels, d, t);
    pointwise_backward(look, narrow, w, transposed, channels, d, t);
    w -= channels * 25, dw -= channels * 25;
    neck_backward(kept + l->deep_grad, dw, look, kept + l->deep, w, channels, t);
    line(dx, kept + l->deep_grad + (s->causal ? 4 : 2), t + 4, channels * BANDS, n, t, 0, 0, 0);

    for (int b = s->blocks - 1; b >= 0; b--) {
        int64_t out = channels, rows = height, dilation = s->block[b].dilation;
        channels = s->block[b].in, height *= s->block[b].stride;
        const float *before = kept + (b ? l->block[b - 1].out : l->stem);
        const float *x = channels == out ? before : kept + l->block[b].widened;
        join_backward(dx, narrow, kept + l->block[b].out, out, rows, t);
        w -= out * out, dw -= out * out;
        pointwise_grad(dw, 0, narrow, kept + l->block[b].inner, out, out, t);
        pointwise_backward(dy, narrow, w, transposed, out, out, t);
        w -= out * 4, dw -= out * 4;
        over_time_backward(look, dw, dy, kept + l->block[b].look, w, out, dilation, t);
        /* The mean's gradient is that of the frames themselves; beyond them there were zeros. */
        line(narrow, look + (dilation << s->causal), t + 2 * dilation, out, n, t, 0, 0, 0);
        w -= out * BANDS * 4, dw -= out * BANDS * 4;
        frequency_backward(dy, dw, dx, narrow, x, w, out, height, s->block[b].stride, t,
                           channels == out);
        float *swap = dx;
        dx = dy, dy = swap;
        if (channels != out) {
            relu_backward(dx, x, out * height * t);
            w -= out * (channels + 1), dw -= out * (channels + 1);
            pointwise_grad(dw, dw + out * channels, dx, before, channels, out, height * t);
            pointwise_backward(dy, dx, w, transposed, channels, out, height * t);
            swap = dx, dx = dy, dy = swap;
        }
    }
    relu_backward(dx, kept + l->stem, s->stem * ROWS * t);
    stem_grad(dw - s->stem * 26, dx, kept + l->input, s->stem, t);
}

/* Clips [B, MELS, n] to the layer before the mean over time [B, D, n]. */
PUBLIC void kws_trunk(const Shape *s, const float *folded, const float *features, int64_t clips,
                      int64_t n, float *scratch, float *out) {
    Layout l = lay_out(s, n);
    for (int64_t c = 0; c < clips; c++, features += MELS * n) {
        forward(s, folded, &l, features, n, scratch);
        for (int64_t d = 0; d < s->last; d++, out += n)
            memcpy(out, scratch + l.last + d * l.t, n * sizeof *out);
    }
}

/* Adds to the gradient of the folded weights, given that of what kws_trunk returns [B, D, n]. What
 * lay between is computed once more: that takes less time than to fetch it from memory. */
PUBLIC void kws_gradient(const Shape *s, const float *folded, const float *features,
                         const float *grad, int64_t clips, int64_t n, float *scratch,
                         float *folded_grad) {
    Layout l = lay_out(s, n);
    for (int64_t c = 0; c < clips; c++, features += MELS * n, grad += s->last * n) {
        forward(s, folded, &l, features, n, scratch);
        backward(s, folded, &l, grad, n, scratch, folded_grad);
    }
}
