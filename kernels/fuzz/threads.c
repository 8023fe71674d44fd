/* Concurrent callers, for ThreadSanitizer: several threads run everything on the same operands at once,
 * each into arrays of its own, and must get what one thread alone gets.
 *
 *     threads [ROUNDS [SEED]]
 *
 * The first call of each thread asks for the instruction set, which is found out once.
 */
#include "cases.h"

#include <pthread.h>
#include <stdlib.h>

#define CALLERS 4
#define M 5
#define N 37
#define K 150
#define SAMPLES 6

struct shared {
    const float *x;
    const uint32_t *bits, *panels;
    size_t panels_length;
    struct bnnlab_network network;
    const void *batch;
    size_t batch_length, length, out_length, workspace;
};

struct caller {
    const struct shared *shared;
    int isa, status;
    uint32_t *packed;
    int32_t *sums;
    float *reals, *scores;
    void *workspace;
};

static struct shared shared;

static void *call(void *given)
{
    struct caller *c = given;
    const struct shared *s = c->shared;
    c->status = bnnlab_resolve_isa(BNNLAB_BEST) == 0;
    c->status |= bnnlab_pack_signs(c->isa, s->x, M * K, M, K, c->packed, M * BNNLAB_WORDS(K));
    c->status |= bnnlab_xnor_matmul(c->isa, s->bits, M * BNNLAB_WORDS(K), s->panels, s->panels_length,
                                    M, N, K, c->sums, M * N);
    c->status |= bnnlab_sign_matmul(c->isa, s->x, M * K, s->panels, s->panels_length, M, N, K, c->reals,
                                    M * N);
    const int status = bnnlab_network_run(c->isa, &s->network, s->batch, s->batch_length, SAMPLES,
                                          s->length, c->scores, s->out_length, c->workspace,
                                          s->workspace, 2);
    if (status != BNNLAB_OK && status != BNNLAB_NOT_A_NUMBER)
        c->status |= status;
    return NULL;
}

static struct caller caller(int isa)
{
    struct caller c = {&shared, isa, -1, make(M * BNNLAB_WORDS(K) * 4), make(M * N * 4),
                       make(M * N * 4), make(shared.out_length * 4), make(shared.workspace)};
    return c;
}

static int same(const struct caller *a, const struct caller *b)
{
    return a->status == BNNLAB_OK && b->status == BNNLAB_OK &&
           !memcmp(a->packed, b->packed, M * BNNLAB_WORDS(K) * 4) &&
           !memcmp(a->sums, b->sums, M * N * 4) && !memcmp(a->reals, b->reals, M * N * 4) &&
           !memcmp(a->scores, b->scores, shared.out_length * 4);
}

int main(int count, char **arguments)
{
    const unsigned long rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 100;
    random_state ^= count > 2 ? strtoul(arguments[2], NULL, 10) : 1;
    for (unsigned long round = 0; round < rounds; round++) {
        int exact;
        shared.x = make_finite(M * K);
        shared.bits = make_bits(M, K);
        shared.panels = make_panels(make_bits(N, K), N, K, &shared.panels_length);
        shared.network = make_network(3, &exact);
        shared.length = shared.network.layers->kind == BNNLAB_LSTM ? 3 : 1;
        shared.batch = make_batch(&shared.network, SAMPLES, shared.length, &shared.batch_length);
        shared.out_length = SAMPLES * shared.length * bnnlab_network_outputs(&shared.network);
        shared.workspace = bnnlab_network_workspace(&shared.network, SAMPLES, shared.length, 2);
        struct caller callers[CALLERS];
        pthread_t threads[CALLERS];
        for (size_t i = 0; i < CALLERS; i++)
            callers[i] = caller(BNNLAB_BEST);
        for (size_t i = 0; i < CALLERS; i++)
            if (pthread_create(threads + i, NULL, call, callers + i))
                return 2;
        for (size_t i = 0; i < CALLERS; i++)
            pthread_join(threads[i], NULL);
        struct caller alone = caller(BNNLAB_BEST);
        call(&alone);
        for (size_t i = 0; i < CALLERS; i++)
            if (!same(callers + i, &alone)) {
                printf("MISMATCH in round %lu: caller %zu, status %d\n", round, i, callers[i].status);
                return 1;
            }
        forget(0);
    }
    printf("%lu rounds of %d callers, no difference\n", rounds, CALLERS);
    return 0;
}
