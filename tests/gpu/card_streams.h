/* SPDX-License-Identifier: Apache-2.0 */
/* What only a card can show: streams at the same time, graphs, memory that runs out. */
#ifndef AQZ_TESTS_GPU_CARD_STREAMS_H
#define AQZ_TESTS_GPU_CARD_STREAMS_H

#include <check.h>

TCase *card_streams(void);

#endif
