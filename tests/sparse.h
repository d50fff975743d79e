/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that try every place or every value: under a sanitizer, which is many times slower, only every SPARSE-th. The
 * plain build tries all. */
#ifndef AQZ_TESTS_SPARSE_H
#define AQZ_TESTS_SPARSE_H

#if defined(__SANITIZE_ADDRESS__)
#define SPARSE 31
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARSE 31
#endif
#endif
#ifndef SPARSE
#define SPARSE 1
#endif

#endif
