/* A network in several threads: each takes its share of the samples. */
#include "bnnlab_network.h"
#include "family.h"

#include <pthread.h>

#define MOST_THREADS 256

typedef int runner(const struct bnnlab_family *, const struct bnnlab_network *, const void *, size_t,
                   size_t, size_t, float *, size_t, void *, size_t);
#ifdef BNNLAB_X86
runner bnnlab_network_run_avx2, bnnlab_network_run_avx512; /* network.c again */
#endif

static runner *runner_of(int isa)
{
    switch (bnnlab_resolve_isa(isa)) {
#ifdef BNNLAB_X86
    case BNNLAB_AVX2:
        return bnnlab_network_run_avx2;
    case BNNLAB_AVX512:
    case BNNLAB_AVX512_CARRY:
    case BNNLAB_AMX:
        return bnnlab_network_run_avx512;
#endif
    default:
        return bnnlab_network_run_with;
    }
}

struct share {
    runner *run;
    const struct bnnlab_family *family;
    const struct bnnlab_network *network;
    const void *x;
    size_t x_length, samples, length;
    float *out;
    size_t out_length;
    void *workspace;
    size_t workspace_length;
    int status;
};

static void *run_share(void *given)
{
    struct share *share = given;
    share->status = share->run(share->family, share->network, share->x, share->x_length,
                               share->samples, share->length, share->out, share->out_length,
                               share->workspace, share->workspace_length);
    return NULL;
}

int bnnlab_network_run(int isa, const struct bnnlab_network *network, const void *x, size_t x_length,
                       size_t samples, size_t length, float *out, size_t out_length,
                       void *workspace, size_t workspace_length, size_t threads)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    runner *run = runner_of(isa);
    threads = threads < samples ? threads : samples;
    if (threads <= 1)
        return run(family, network, x, x_length, samples, length, out, out_length, workspace,
                   workspace_length);
    if (threads > MOST_THREADS)
        threads = MOST_THREADS;
    const size_t outputs = bnnlab_network_outputs(network);
    if (outputs == 0)
        return BNNLAB_BAD_PROGRAM;
    /* Lengths that are no multiples are refused by one share or all. */
    const size_t needed = bnnlab_network_workspace(network, samples, length, threads);
    if (needed == 0)
        return BNNLAB_TOO_LARGE;
    if (!x || !out || !workspace || x_length % samples || out_length % samples ||
        workspace_length < needed)
        return BNNLAB_BAD_LENGTH;
    const int text = network->layers[0].kind == BNNLAB_LSTM;
    const size_t inputs = x_length / samples, given = out_length / samples;
    const size_t most = samples / threads + (samples % threads != 0);
    const size_t room = bnnlab_network_workspace(network, most, length, 1);
    struct share shares[MOST_THREADS];
    pthread_t started[MOST_THREADS];
    size_t count = 0;
    for (size_t first = 0; first < samples; first += shares[count++].samples) {
        const size_t some = samples - first < most ? samples - first : most;
        const void *from = text ? (const void *)((const int64_t *)x + first * inputs)
                                : (const void *)((const float *)x + first * inputs);
        const struct share share = {run, family, network, from, some * inputs, some, length,
                                    out + first * given, some * given,
                                    (unsigned char *)workspace + count * room, room, BNNLAB_OK};
        shares[count] = share;
    }
    /* What no thread can be started for is done here. */
    size_t running = 1;
    while (running < count &&
           pthread_create(&started[running], NULL, run_share, &shares[running]) == 0)
        running++;
    run_share(&shares[0]);
    for (size_t i = running; i < count; i++)
        run_share(&shares[i]);
    int status = shares[0].status;
    for (size_t i = 1; i < count; i++) {
        if (i < running)
            pthread_join(started[i], NULL);
        if (status == BNNLAB_OK)
            status = shares[i].status;
    }
    return status;
}
