/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/gpu/card_streams.h"

#include <cuda_runtime_api.h>

#include "tests/gpu/gpu_file.h"

#define SURE_CUDA(call) ck_assert_msg((call) == cudaSuccess, "%s: %s", #call, cudaGetErrorString(cudaGetLastError()))

enum { STREAMS = 8, ROWS = 1000, COLS = 1024 };

typedef struct layer {
	matrix m;
	aqz_gpu_matrix *g;
	void *x, *y, *workspace;
	uint64_t workspace_bytes;
	uint16_t due[ROWS];
} layer;

static void run_layer(layer *l, aqz_gpu_stream stream)
{
	aqz_error err = {0};

	ck_assert_msg(aqz_gpu_multiply(l->y, ROWS, l->g, l->x, COLS, 1, AQZ_F16, l->workspace, l->workspace_bytes, stream,
					  &err) == AQZ_OK,
		"%s", err.text);
}

static void make_layers(layer *layers, unsigned n)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = ROWS, .cols = COLS, .scale_dtype = AQZ_F16};
	noise r = {5};
	uint16_t x[COLS];
	float wide[COLS];

	for (unsigned i = 0; i < n; i++) {
		layer *l = &layers[i];
		aqz_additive a;

		matrix_make(&l->m, &opt, &r);
		a = gpu_additive(&l->m);
		ck_assert_int_eq(aqz_gpu_matrix_from_additive(&l->g, gpu, &a, NULL, NULL), AQZ_OK);
		gpu_inputs(x, wide, AQZ_F16, COLS, &r);
		l->x = gpu_put(x, sizeof x);
		ck_assert_int_eq(aqz_gpu_memory(&l->y, gpu, ROWS * 2, NULL), AQZ_OK);
		l->workspace_bytes = aqz_gpu_workspace_bytes(l->g, 1);
		l->workspace = NULL;
		if (l->workspace_bytes != 0)
			ck_assert_int_eq(aqz_gpu_memory(&l->workspace, gpu, l->workspace_bytes, NULL), AQZ_OK);
		run_layer(l, NULL);
		gpu_fetch(l->due, l->y, ROWS * 2);
	}
}

static void check_layers(layer *layers, unsigned n)
{
	uint16_t got[ROWS];

	for (unsigned i = 0; i < n; i++) {
		gpu_fetch(got, layers[i].y, ROWS * 2);
		ck_assert_mem_eq(got, layers[i].due, ROWS * 2);
	}
}

static void free_layers(layer *layers, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		aqz_gpu_memory_free(gpu, layers[i].x);
		aqz_gpu_memory_free(gpu, layers[i].y);
		aqz_gpu_memory_free(gpu, layers[i].workspace);
		aqz_gpu_matrix_free(layers[i].g);
		matrix_free(&layers[i].m);
	}
}

START_TEST(at_the_same_time)
{
	layer *layers = sure_alloc(STREAMS * sizeof *layers);
	cudaStream_t streams[STREAMS];

	make_layers(layers, STREAMS);
	for (int i = 0; i < STREAMS; i++)
		SURE_CUDA(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
	for (int turn = 0; turn < 50; turn++)
		for (int i = 0; i < STREAMS; i++)
			run_layer(&layers[i], streams[i]);
	SURE_CUDA(cudaDeviceSynchronize());
	for (int i = 0; i < STREAMS; i++)
		SURE_CUDA(cudaStreamDestroy(streams[i]));
	check_layers(layers, STREAMS);
	free_layers(layers, STREAMS);
	free(layers);
}
END_TEST

/* Products and rows are captured, and the graph gives what calls give; it allocates nothing. */
START_TEST(captured)
{
	layer *layers = sure_alloc(4 * sizeof *layers);
	uint8_t *due, *got = sure_alloc(ROWS * COLS * 2);
	cudaStream_t stream;
	cudaGraph_t graph;
	cudaGraphExec_t ready;
	size_t free_before, free_after, total;
	void *rows;

	make_layers(layers, 4);
	ck_assert_int_eq(aqz_gpu_memory(&rows, gpu, ROWS * COLS * 2, NULL), AQZ_OK);
	SURE_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
	SURE_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
	for (int i = 0; i < 4; i++)
		run_layer(&layers[i], stream);
	ck_assert_int_eq(aqz_gpu_reconstruct(rows, COLS, AQZ_F16, layers[0].g, 0, ROWS, stream, NULL), AQZ_OK);
	SURE_CUDA(cudaStreamEndCapture(stream, &graph));
	SURE_CUDA(cudaGraphInstantiate(&ready, graph, 0));
	SURE_CUDA(cudaGraphLaunch(ready, stream));
	SURE_CUDA(cudaStreamSynchronize(stream));
	SURE_CUDA(cudaMemGetInfo(&free_before, &total));
	for (int turn = 0; turn < 20; turn++)
		SURE_CUDA(cudaGraphLaunch(ready, stream));
	SURE_CUDA(cudaStreamSynchronize(stream));
	SURE_CUDA(cudaMemGetInfo(&free_after, &total));
	ck_assert_uint_eq(free_before, free_after);
	check_layers(layers, 4);
	due = matrix_expect(&layers[0].m, AQZ_F16);
	gpu_fetch(got, rows, ROWS * COLS * 2);
	ck_assert_mem_eq(got, due, ROWS * COLS * 2);
	SURE_CUDA(cudaGraphExecDestroy(ready));
	SURE_CUDA(cudaGraphDestroy(graph));
	SURE_CUDA(cudaStreamDestroy(stream));
	aqz_gpu_memory_free(gpu, rows);
	free_layers(layers, 4);
	free(layers);
	free(due);
	free(got);
}
END_TEST

/* All but some MiB of the device are taken; an upload that does not fit says so, and the device goes on. */
START_TEST(no_memory)
{
	/* Codes of 2 MiB a matrix; uploads go on until there is no room. */
	enum { MOST = 512 };
	const matrix_options opt = {.scheme = "2x8g8", .rows = 4096, .cols = 2048, .scale_dtype = AQZ_F16};
	aqz_gpu_matrix **all = sure_alloc(MOST * sizeof *all);
	noise r = {6};
	aqz_status status = AQZ_OK;
	size_t free_bytes, total;
	void *ballast;
	unsigned n = 0;
	aqz_additive a;
	matrix m;
	aqz_error err = {0};

	matrix_make(&m, &opt, &r);
	a = gpu_additive(&m);
	SURE_CUDA(cudaMemGetInfo(&free_bytes, &total));
	SURE_CUDA(cudaMalloc(&ballast, free_bytes - ((size_t)256 << 20)));
	while (n < MOST && (status = aqz_gpu_matrix_from_additive(&all[n], gpu, &a, NULL, &err)) == AQZ_OK)
		n++;
	ck_assert_msg(status == AQZ_E_SPACE, "%u matrices, status %s: %s", n, aqz_status_name(status), err.text);
	ck_assert_uint_ge(n, 8);
	SURE_CUDA(cudaFree(ballast));
	while (n > 0)
		aqz_gpu_matrix_free(all[--n]);
	ck_assert_int_eq(aqz_gpu_matrix_from_additive(&all[0], gpu, &a, NULL, &err), AQZ_OK);
	aqz_gpu_matrix_free(all[0]);
	matrix_free(&m);
	free(all);
}
END_TEST

TCase *card_streams(void)
{
	TCase *t = tcase_create("streams");

	tcase_set_timeout(t, 600);
	tcase_add_test(t, at_the_same_time);
	tcase_add_test(t, captured);
	tcase_add_test(t, no_memory);
	return t;
}
