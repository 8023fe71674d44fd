/* Whole networks: an array of layers, run one after another by one call.
 *
 * A layer is plain data: sizes, and pointers to constant arrays with their lengths. Nothing is
 * allocated: the caller asks how much workspace a batch needs and brings it. Between layers runs
 * either float32 [height, width, channels] of each sample, or the bit planes of small integers,
 * low + gap * b with b in binary. Features without a place are the channels of one pixel, and a dense
 * layer is a window as large as the image.
 *
 * Sums over signs and codes are integers and exact. Real sums are float32: of signs as
 * bnnlab_sign_matmul promises, of real weights in ascending order. A sample's result depends neither
 * on the other samples nor on threads. Constants may be infinite: where infinities make a NaN it is
 * passed on, with a sign and payload that nobody promises, until it meets signs or thresholds, and is
 * reported (BNNLAB_NOT_A_NUMBER).
 */
#ifndef BNNLAB_NETWORK_H
#define BNNLAB_NETWORK_H

#include "bnnlab_kernels.h"

#define BNNLAB_BLOCK 64         /* outputs whose thresholds lie together */
#define BNNLAB_FEW 16           /* channels below which the bits of a window are laid out afresh */

enum bnnlab_network_status {    /* beside enum bnnlab_status */
    BNNLAB_BAD_PROGRAM = 6,     /* layers that do not fit one another, or an array of another length */
    BNNLAB_BAD_INPUT = 7,       /* numbers that are not finite, or no symbols of the network's */
};

enum bnnlab_kind {
    BNNLAB_CODES = 1,           /* numbers to the codes that the first layer takes, by thresholds */
    BNNLAB_SUMS = 2,            /* a dense or convolutional layer */
    BNNLAB_LSTM = 3,            /* symbols to the outputs of a long short-term memory */
};

enum bnnlab_operands {
    BNNLAB_BITS_BY_SIGNS = 1,   /* codes times sign planes, in integers */
    BNNLAB_REALS_BY_SIGNS = 2,  /* numbers (or the values of codes) times sign planes */
    BNNLAB_REALS_BY_REALS = 3,  /* numbers (or the values of codes) times real weights */
    BNNLAB_SCALED_SIGNS = 4,    /* signs of numbers times sign planes, each sum times the mean size of
                                 * what its window sees: XNOR-Net's K (arXiv:1603.05279, eq. 11) */
};

enum bnnlab_function {
    BNNLAB_IDENTITY = 0,
    BNNLAB_RELU = 1,
    BNNLAB_TANH = 2,
    BNNLAB_ABSMAX = 3,          /* ReLU, rounded to 127 steps up to the sample's largest: BitNet */
    BNNLAB_SIGN_MEAN = 4,       /* the sign times the mean size over the pixel's channels: XNOR-Net */
    BNNLAB_HARD_TANH = 5,       /* max(-1, min(1, x)) */
};

struct bnnlab_words { const uint32_t *at; size_t length; };
struct bnnlab_bytes { const uint8_t *at; size_t length; };
struct bnnlab_ints { const int32_t *at; size_t length; };
struct bnnlab_floats { const float *at; size_t length; };

/* Integers low + gap * b, b of `planes` bits, times a step; without planes, real numbers. */
struct bnnlab_values {
    size_t planes;
    int32_t low, gap;
    double step;
};

/* Sizes that a kind of layer does not have are 0, arrays empty. */
struct bnnlab_layer {
    int kind;                           /* enum bnnlab_kind */

    /* What comes in, of each sample. Of a text: `channels` symbols. */
    size_t channels, height, width;
    struct bnnlab_values given;

    /* The product. Its `inputs` are the taps of the window times the channels, in the order tap row,
     * tap column, channel. With codes of at least BNNLAB_FEW channels and more than one tap, each tap
     * begins with a word of the panels. */
    int operands;                       /* enum bnnlab_operands */
    size_t outputs;
    struct bnnlab_window window;
    size_t sign_planes;
    struct bnnlab_words panels;         /* [sign planes] of panels */
    struct bnnlab_ints factors;         /* [sign planes] */
    int halved;                         /* a weight is half the sum of factors times signs */
    struct bnnlab_ints ones;            /* of codes that are no signs: [sign planes, outputs] */
    struct bnnlab_ints offsets;         /* [ways, outputs]: added to integer sums; or none */
    struct bnnlab_ints totals;          /* [ways, outputs]: of a first layer with real inputs, the sums
                                         * of factors times signs over the image; or none */
    struct bnnlab_bytes ways_down;      /* [places down]: in which way a window lies on the image, */
    struct bnnlab_bytes ways_across;    /* [places across]; ways = all pairs, down by across. None
                                         * where there is one way. */
    struct bnnlab_floats weights;       /* real ones, as panels [ceil(outputs / 16), inputs, 16] */
    struct bnnlab_floats bias;          /* of real weights: [outputs] or none; of an LSTM none */

    /* Of pool_down x pool_across pixels the largest is kept: of sums, or of what comes of them. */
    size_t pool_down, pool_across;      /* 1 and 1 for no pooling */
    int pool_last;

    /* From sums to codes by thresholds, or with `levels` = 0 to numbers: sum * scale + shift and a
     * function. What comes out is `taken`. */
    size_t levels;
    struct bnnlab_ints thresholds;      /* in blocks of BNNLAB_BLOCK outputs: [levels, outputs] of each;
                                         * of real sums, float keys */
    struct bnnlab_words flip;           /* [words(outputs)], see bnnlab_threshold */
    struct bnnlab_words patterns;       /* [levels + 1]: the b of each code; none: its place */
    struct bnnlab_floats scale, shift;  /* [outputs] or [1] */
    int function;                       /* enum bnnlab_function */
    struct bnnlab_values taken;

    /* An LSTM: gates i, f, g, o = column_scale * W_x column + shift + scale * (W_h h), where W_h is
     * the product above with `outputs` = 4 cells and one pixel of `cells` inputs; thresholds or
     * function are those of the cells (BNNLAB_TANH by default, taken as numbers). */
    size_t symbols;
    size_t column_planes;               /* bits of a stored weight of W_x; 0 for real ones */
    struct bnnlab_words columns;        /* [column planes, symbols, words(4 cells)] */
    struct bnnlab_floats column_values; /* what each pattern of bits stands for [2**column planes]; of
                                         * real weights, these [symbols, 4 cells] */
    struct bnnlab_floats column_scale;  /* [4 cells] or [1] */
};

struct bnnlab_network {
    const struct bnnlab_layer *layers;
    size_t count;
};

/* How many numbers a sample has once the last layer has run (of a text: each symbol), or 0 where the
 * layers do not fit one another. */
size_t bnnlab_network_outputs(const struct bnnlab_network *network);

/* The bytes of workspace that a batch needs in so many threads; `length` is the symbols of each text,
 * else 1. 0 where the layers do not fit one another or the sizes overflow. */
size_t bnnlab_network_workspace(const struct bnnlab_network *network, size_t samples, size_t length,
                                size_t threads);

/* Run a batch.
 *
 * x: float32 [samples, channels, height, width], or int64 symbols [samples, length].
 * out: float32 [samples, outputs] (channels, height, width where the last layer ends in an image), or
 *     [samples, length, outputs].
 * workspace: at least as many bytes as bnnlab_network_workspace says, aligned for any type, best to a
 *     cache line of 64 bytes.
 * threads: the samples are shared out among so many, of which all but one are started and joined. */
int bnnlab_network_run(int isa, const struct bnnlab_network *network, const void *x, size_t x_length,
                       size_t samples, size_t length, float *out, size_t out_length,
                       void *workspace, size_t workspace_length, size_t threads);

/* The same in the calling thread with the kernels of an instruction set: this alone needs no more than
 * network.c and the file of that instruction set. */
struct bnnlab_family;
int bnnlab_network_run_with(const struct bnnlab_family *family, const struct bnnlab_network *network,
                            const void *x, size_t x_length, size_t samples, size_t length,
                            float *out, size_t out_length, void *workspace, size_t workspace_length);

#endif
