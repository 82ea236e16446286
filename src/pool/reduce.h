/* SPDX-License-Identifier: MIT */
/* reduce.h - what the workers of a reduction have added up so far: see reduce.c. */
#ifndef MP_POOL_REDUCE_H
#define MP_POOL_REDUCE_H

#include "pool/pool.h"

struct mp__fold;

/* Worker: where a batch that begins with item `next` is to be folded. */
char *mp__fold_begin(struct mp__fold *fold, struct mp__worker *self, unsigned place,
                     uint32_t next);

/* Worker: the batch is folded, up to before item `end`, and counts from now on. */
void mp__fold_commit(struct mp__fold *fold, unsigned place, uint32_t end);

/* The first item of a dead worker's hand that does not count. */
uint32_t mp__fold_next(const struct mp__fold *fold, unsigned place, uint64_t at);

#endif
