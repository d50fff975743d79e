/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLAS, found at run time: a program that never asks for it needs none. Declared here is only what is called, so that
 * it needs no header either; the C interface of these functions has been the same from CUDA 11 on. */
#include <dlfcn.h>

#include "base/base.h"
#include "gpu/cuda.h"

typedef struct cublasContext *blas_handle;

/* From cuBLAS's documentation: operations, element types and kinds of computation. */
enum { OP_N = 0, OP_T = 1 };
enum { R_32F = 0, R_16F = 2, R_16BF = 14 };
enum { COMPUTE_32F = 68 };
enum { ALGORITHM_DEFAULT = -1 };

struct aqz_gpu_blas {
	void *library;
	blas_handle handle;
	int (*create)(blas_handle *);
	int (*destroy)(blas_handle);
	int (*set_stream)(blas_handle, cudaStream_t);
	int (*set_workspace)(blas_handle, void *, size_t);
	int (*gemm)(blas_handle, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int,
		const void *, void *, int, int, int, int);
};

static bool find(aqz_gpu_blas *b)
{
	static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"};

	for (size_t i = 0; i < sizeof names / sizeof *names && b->library == NULL; i++)
		b->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (b->library == NULL)
		return false;
	/* POSIX lets a pointer to an object be one to a function; C does not. */
	*(void **)&b->create = dlsym(b->library, "cublasCreate_v2");
	*(void **)&b->destroy = dlsym(b->library, "cublasDestroy_v2");
	*(void **)&b->set_stream = dlsym(b->library, "cublasSetStream_v2");
	*(void **)&b->set_workspace = dlsym(b->library, "cublasSetWorkspace_v2");
	*(void **)&b->gemm = dlsym(b->library, "cublasGemmEx");
	return b->create && b->destroy && b->set_stream && b->set_workspace && b->gemm;
}

aqz_status aqz_blas_open(aqz_gpu_blas **out, aqz_error *err)
{
	aqz_gpu_blas *b = calloc(1, sizeof *b);

	*out = NULL;
	if (b == NULL)
		return aqz_fail_nomem(err, sizeof *b);
	if (!find(b) || b->create(&b->handle) != 0) {
		b->handle = NULL;
		aqz_blas_close(b);
		return AQZ_OK;
	}
	*out = b;
	return AQZ_OK;
}

void aqz_blas_close(aqz_gpu_blas *b)
{
	if (b->handle != NULL)
		b->destroy(b->handle);
	if (b->library != NULL)
		dlclose(b->library);
	free(b);
}

aqz_status aqz_blas_product(aqz_gpu_blas *b, void *y, uint64_t y_ld, const void *w, uint64_t w_ld, uint32_t rows,
	uint32_t cols, const void *x, uint64_t x_ld, uint32_t n_columns, aqz_dtype dtype, void *workspace,
	aqz_gpu_stream stream, aqz_error *err)
{
	const int type = dtype == AQZ_F32 ? R_32F : dtype == AQZ_F16 ? R_16F : R_16BF;
	const float one = 1, zero = 0;
	int error;

	if (y_ld > INT32_MAX || x_ld > INT32_MAX || w_ld > INT32_MAX)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "ld", "rows are too far apart for cuBLAS");
	error = b->set_stream(b->handle, stream);
	if (error == 0) /* after the stream, which takes the workspace away */
		error = b->set_workspace(b->handle, workspace, AQZ_BLAS_WORKSPACE_BYTES);
	/* Columns first: W is [cols][rows] with w_ld, to be transposed; x and y have a column for each vector. */
	if (error == 0)
		error = b->gemm(b->handle, OP_T, OP_N, (int)rows, (int)n_columns, (int)cols, &one, w, type, (int)w_ld, x, type,
			(int)x_ld, &zero, y, type, (int)y_ld, COMPUTE_32F, ALGORITHM_DEFAULT);
	if (error != 0)
		return aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "cublas", "cublasGemmEx failed with status %d", error);
	return AQZ_OK;
}
